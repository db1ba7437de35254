"""Probes read the function alone, and refuse what they cannot ask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.encoders import probes
from wsjax.models import mlp, siren

SIREN = siren.SIREN((2, 8, 8, 1))


@pytest.mark.parametrize(
  'options',
  (
    dict(source='free', num_probes=7),
    dict(source='linear', num_probes=7),
    dict(source='grid', num_probes=16),
    dict(source='grid', reader='conv', num_probes=64, width=4),
  ),
)
def test_probes_are_learned(options):
  encoder = probes.Probes(SIREN, **options)
  params = jax.jit(SIREN.init)(jax.random.key(0))
  variables = jax.jit(encoder.init)(jax.random.key(1), params)
  gradients = jax.jit(jax.grad(lambda v: encoder.apply(v, params).sum()))(variables)
  for path, value in jax.tree.leaves_with_path(gradients):
    assert np.any(value != 0), jax.tree_util.keystr(path)


def test_a_grid_starts_as_the_pixels_of_a_picture():
  encoder = probes.Probes(SIREN, source='grid', num_probes=9)
  variables = jax.jit(encoder.init)(jax.random.key(0), SIREN.init(jax.random.key(1)))
  grid = np.asarray(variables['params']['probes']).reshape(3, 3, 2)
  np.testing.assert_allclose(grid[0, 0], [-2 / 3, -2 / 3], atol=1e-6)
  np.testing.assert_allclose(grid[2, 1], [2 / 3, 0], atol=1e-6)


@pytest.mark.parametrize(
  ('options', 'message'),
  (
    (dict(source='dream'), 'source'),
    (dict(reader='gnn'), 'reader'),
    (dict(reader='conv', num_probes=10), 'num_probes'),
  ),
)
def test_wrong_options_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    probes.Probes(SIREN, **options)


def test_a_grid_needs_two_coordinates():
  with pytest.raises(ValueError, match='source'):
    probes.Probes(mlp.MLP((12, 4, 3)), source='grid', num_probes=16)


def test_what_the_network_computes_is_all_that_counts():
  """A unit that is never read may have any weights."""
  encoder = probes.Probes(SIREN, num_probes=6)
  params = jax.jit(SIREN.init)(jax.random.key(0))
  params['layer1/kernel'] = params['layer1/kernel'].at[3].set(0.0)
  variables = jax.jit(encoder.init)(jax.random.key(1), params)
  other = {
    **params, 'layer0/bias': params['layer0/bias'].at[3].set(jnp.float32(9.0))
  }  # fmt: skip
  np.testing.assert_allclose(
    jax.jit(encoder.apply)(variables, params), jax.jit(encoder.apply)(variables, other), atol=1e-6
  )


@pytest.mark.parametrize(('window', 'stride'), [(3, 1), (5, 2)])
@pytest.mark.parametrize('size', [7, 8])
def test_products_of_patches_are_a_convolution(window, stride, size):
  x = jax.random.normal(jax.random.key(0), (size, size, 2))
  layer = probes._Convolution(3, window, stride)
  variables = jax.jit(layer.init)(jax.random.key(1), x)
  dense = variables['params']['Dense_0']
  pads = (window // 2, window // 2)
  expected = jax.lax.conv_general_dilated(
    x[None],
    dense['kernel'].reshape(window, window, 2, 3),
    (stride, stride),
    (pads, pads),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )[0]
  np.testing.assert_allclose(layer.apply(variables, x), expected, atol=1e-5)
