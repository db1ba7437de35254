"""The inverse inverts, and the log-det is that of the Jacobian."""

import functools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.generate import coupling

SIZES = st.sampled_from([1, 5])
SEEDS = st.integers(0, 2**20)


def randomized(module, size, seed, condition=None):
  """The module with weights far from the identity it starts as."""
  params = module.init(
    jax.random.key(0), np.zeros(size, np.float32), condition, method='forward'
  )
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  leaves = [
    0.3 * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves
  ]
  params = jax.tree.unflatten(tree, leaves)
  return {
    name: functools.partial(apply, module, name, params, condition)
    for name in ('forward', 'inverse')
  }


@functools.partial(jax.jit, static_argnums=(0, 1))
def apply(module, name, params, condition, x):
  return module.apply(params, x, condition, method=name)


def modules(size):
  return (
    coupling.Scaling(size),
    coupling.AffineCoupling(1, size, 16, 1),
    coupling.Stack(size, 4, 16, 1),
  )


@pytest.mark.parametrize('which', range(3))
@hypothesis.given(size=SIZES, seed=SEEDS)
@hypothesis.settings(max_examples=8)
def test_the_inverse_inverts_and_log_dets_cancel(which, size, seed):
  layer = randomized(modules(size)[which], size, seed)
  x = np.random.default_rng(seed + 1).standard_normal(size).astype(np.float32)
  y, log_det = layer['forward'](x)
  back, log_det_back = layer['inverse'](y)
  np.testing.assert_allclose(back, x, atol=1e-4, rtol=1e-4)
  np.testing.assert_allclose(log_det, -log_det_back, atol=1e-4)


@pytest.mark.parametrize('which', range(3))
@pytest.mark.parametrize('size', [1, 5])
def test_the_log_det_is_that_of_the_jacobian(which, size):
  condition = np.ones(2, np.float32)
  layer = randomized(modules(size)[which], size, 3, condition)
  x = np.random.default_rng(4).standard_normal(size).astype(np.float32)
  for name in ('forward', 'inverse'):
    jacobian = jax.jacfwd(lambda x, name=name: layer[name](x)[0])(x)
    want = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    np.testing.assert_allclose(layer[name](x)[1], want, atol=1e-4)


def test_any_two_coordinates_are_parted_by_some_layer():
  for size in (2, 5, 16):
    layers = 2 * max(int(size - 1).bit_length(), 1)
    masks = np.stack([coupling.bit_mask(size, i) for i in range(layers)])
    for i in range(size):
      for j in range(size):
        if i != j:  # j is changed given i.
          assert np.any((masks[:, i] == 1) & (masks[:, j] == 0))


def test_a_new_flow_is_the_identity():
  module = coupling.Stack(6, 4, 16, 1)
  x = np.arange(6, dtype=np.float32)
  params = module.init(jax.random.key(0), x, None, method='forward')
  y, log_det = module.apply(params, x, None, method='forward')
  np.testing.assert_array_equal(y, x)
  assert float(log_det) == 0
