"""Curvature of quadratics, which is known, and sharpness of networks under their symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from wsjax.geometry import flatness

EIGENVALUES = np.array([-1.0, 0.0, 0.0, 0.5, 2.0, 7.0], np.float32)


@pytest.fixture(scope='module')
def quadratic():
  """A loss with known Hessian, in two parameters of different shapes."""
  basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
  matrix = jnp.asarray(basis @ np.diag(EIGENVALUES) @ basis.T, jnp.float32)

  def loss(params):
    x = jnp.concatenate([params['a'], params['b'].ravel()])
    return x @ matrix @ x / 2

  return loss, {'a': jnp.ones(2), 'b': jnp.ones((2, 2))}


def test_lanczos_finds_the_eigenvalues_of_a_quadratic(quadratic):
  values, weights = flatness.spectrum(*quadratic, jax.random.key(0))
  np.testing.assert_allclose([values.min(), values.max()], [-1, 7], atol=1e-4)
  np.testing.assert_allclose(weights.sum(), 1, atol=1e-5)


def test_the_weights_are_a_quadrature_of_the_spectrum(quadratic):
  run = jax.vmap(lambda key: flatness.spectrum(*quadratic, key))
  values, weights = run(jax.random.split(jax.random.key(0), 500))
  for power in (1, 2, 3):
    found = np.sum(weights * values**power, axis=1)
    error = 4 * found.std() / np.sqrt(500)
    assert abs(found.mean() - np.mean(EIGENVALUES**power)) < error
  grid = jnp.linspace(-3, 9, 400)
  curve = flatness.density(values, weights, grid, width=0.2)
  np.testing.assert_allclose(jnp.sum(curve) * (grid[1] - grid[0]), 1, atol=0.01)
  # Two of six eigenvalues are 0.
  near = np.abs(grid) < 0.25
  np.testing.assert_allclose(np.sum(curve * near) * (grid[1] - grid[0]), 0.79 / 3, atol=0.06)


def test_few_products_find_the_largest_eigenvalue_of_many():
  scale = jnp.concatenate([jnp.array([50.0]), jnp.linspace(0, 1, 999)])
  values, _ = flatness.spectrum(
    lambda p: jnp.sum(scale * p['w'] ** 2) / 2, {'w': jnp.ones(1000)}, jax.random.key(1)
  )
  np.testing.assert_allclose(values.max(), 50, rtol=1e-3)


def test_hutchinson_is_exact_for_a_diagonal_and_right_on_average(quadratic):
  diagonal = flatness.trace(
    lambda p: jnp.sum(jnp.arange(5) * p['w'] ** 2) / 2, {'w': jnp.ones(5)}, jax.random.key(0)
  )
  np.testing.assert_allclose(diagonal, 10, rtol=1e-5)
  found = flatness.trace(*quadratic, jax.random.key(0), num_vectors=2000)
  assert abs(found - EIGENVALUES.sum()) < 0.8  # Four standard errors.


@pytest.fixture(scope='module')
def trained():
  """A ReLU network and its loss on random data."""
  model = wsjax.mlp((5, 6, 4, 3))
  x = jax.random.normal(jax.random.key(1), (32, 5))
  y = jnp.arange(32) % 3
  params = model.init(jax.random.key(0))

  def loss(params):
    logits = jax.nn.log_softmax(model.apply(params, x))
    return -jnp.mean(logits[jnp.arange(32), y])

  return model, params, loss


def test_adaptive_sharpness_does_not_change_under_symmetries(trained):
  model, params, loss = trained

  @jax.jit
  def both(key):
    moved = model.spec.act(model.spec.random(key), params)
    return [
      (flatness.adaptive_sharpness(loss, p), flatness.spectrum(loss, p, key)[0].max())
      for p in (params, moved)
    ]

  for key in jax.random.split(jax.random.key(0), 5):
    (found, curvature), (after, curvature_after) = both(key)
    assert found > 0
    np.testing.assert_allclose(after, found, rtol=1e-4)
    # The largest eigenvalue does change, which is why there is an adaptive one.
    assert abs(curvature_after / curvature - 1) > 0.01


def test_adaptive_sharpness_of_a_line_is_the_norm_of_its_scaled_gradient():
  w, slope = jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 1.0, -4.0])
  found = flatness.adaptive_sharpness(lambda p: p['w'] @ slope, {'w': w}, rho=0.1)
  np.testing.assert_allclose(found, 0.1 * np.linalg.norm(w * slope), rtol=1e-5)


def test_directions_have_the_norms_of_the_filters(trained):
  _, params, _ = trained
  found = flatness.direction(params, jax.random.key(0))
  for path, value in params.items():
    axes = tuple(range(value.ndim - 1))
    want = np.linalg.norm(value, axis=axes) if axes else np.zeros(value.shape)
    norms = np.linalg.norm(found[path], axis=axes) if axes else found[path]
    np.testing.assert_allclose(norms, want, rtol=1e-5)


def test_filter_sharpness_of_a_bowl_is_that_of_its_norm():
  params = {'w': jnp.array([[3.0, 1.0], [4.0, 0.0]])}
  found = flatness.filter_sharpness(
    lambda p: jnp.sum((p['w'] - params['w']) ** 2), params, jax.random.key(0), radius=0.1
  )
  np.testing.assert_allclose(found, 0.01 * (25 + 1), rtol=1e-4)


def test_the_middle_of_a_landscape_is_the_network(trained):
  _, params, loss = trained
  found = flatness.landscape(loss, params, jax.random.key(0), num_points=5)
  assert found.shape == (5, 5)
  np.testing.assert_allclose(found[2, 2], loss(params), rtol=1e-5)
