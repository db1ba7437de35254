"""The inverse inverts, and the log-det is that of the Jacobian."""

import functools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.generators.parts import coupling, spline


def randomized(module, seed, condition=None):
  """Weights far from the identity that the module starts as."""
  x = np.zeros(module.size, np.float32)
  init = functools.partial(module.init, method='forward')
  shapes = jax.eval_shape(init, jax.random.key(0), x, condition)
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: 0.2 * rng.standard_normal(leaf.shape).astype(np.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def there_and_back(module, params, x, condition):
  """Values, log-det and Jacobian of both ways, the second from the first."""

  def of(way, x):
    def values(x):
      y, log_det = module.apply(params, x, condition, method=way)
      return y, (y, log_det)

    jacobian, (y, log_det) = jax.jacfwd(values, has_aux=True)(x)
    return y, log_det, jacobian

  there = of('forward', x)
  return there, of('inverse', there[0])


def affine(number):
  return coupling.AffineCoupling(number, 5, 16, 1)


def bent(number):
  return spline.SplineCoupling(number, 5, 16, 1, num_bins=4, tail_bound=3.0)


LAYERS = {
  'scaling': coupling.Scaling(5),
  'affine': affine(1),
  'spline': bent(1),
  'affine, one coordinate': coupling.AffineCoupling(1, 1, 16, 1),
  'spline, one coordinate': spline.SplineCoupling(1, 1, 16, 1),
  'affine stack': coupling.Stack(5, 2, affine),
  'spline stack': coupling.Stack(5, 2, bent),
}
CONDITION = np.asarray([0.5, -1.0], np.float32)
CASES = [*((name, None) for name in LAYERS), *((name, CONDITION) for name in ('affine', 'spline'))]


@pytest.mark.parametrize('name,condition', CASES)
@hypothesis.given(seed=st.integers(0, 2**20))
@hypothesis.settings(max_examples=8)
def test_the_inverse_inverts_and_log_dets_are_those_of_jacobians(name, condition, seed):
  module = LAYERS[name]
  # Some coordinates lie beyond the tails of a spline.
  x = np.random.default_rng(seed + 1).normal(0, 2, module.size)
  x = x.astype(np.float32)
  params = randomized(module, seed, condition)
  there, back = there_and_back(module, params, x, condition)
  # What one layer rounds the others may stretch.
  atol = 1e-4 if 'stack' in name else 1e-5
  np.testing.assert_allclose(back[0], x, atol=atol, rtol=1e-5)
  for _, log_det, jacobian in (there, back):
    want = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    np.testing.assert_allclose(log_det, want, atol=1e-4)


@pytest.mark.parametrize('name', ['affine', 'spline'])
def test_the_condition_decides_and_the_kept_half_is_kept(name):
  module = LAYERS[name]
  x = np.linspace(-1, 1, 5, dtype=np.float32)
  params = randomized(module, 3, CONDITION)
  one, two = (
    np.asarray(there_and_back(module, params, x, given)[0][0]) for given in (CONDITION, -CONDITION)
  )
  kept = coupling.bit_mask(5, 1) == 1
  np.testing.assert_array_equal(one[kept], x[kept])
  assert np.all((one != two)[~kept])


def test_any_two_coordinates_are_parted_by_some_layer():
  for size in (2, 5, 16):
    layers = 2 * max(int(size - 1).bit_length(), 1)
    masks = np.stack([coupling.bit_mask(size, i) for i in range(layers)])
    for i in range(size):
      for j in range(size):
        if i != j:  # j is changed given i.
          assert np.any((masks[:, i] == 1) & (masks[:, j] == 0))


@pytest.mark.parametrize('make', [affine, bent])
def test_a_new_flow_is_the_identity(make):
  module = coupling.Stack(5, 4, make)
  x = np.arange(5, dtype=np.float32)
  forward = functools.partial(module.apply, method='forward')
  params = jax.jit(functools.partial(module.init, method='forward'))(jax.random.key(0), x, None)
  y, log_det = jax.jit(forward)(params, x, None)
  np.testing.assert_allclose(y, x, atol=1e-6)
  assert abs(float(log_det)) < 1e-6
