"""Dimensions of sets whose dimension is known, and of tasks that need no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance

from wsjax.geometry import dimension


def sphere(dim, num, ambient=50, seed=0):
  """[num, num] distances between points of a `dim`-dimensional sphere in a larger space."""
  rng = np.random.default_rng(seed)
  points = rng.normal(size=(num, dim + 1))
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  turned = points @ np.linalg.qr(rng.normal(size=(ambient, dim + 1)))[0].T
  return scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(turned))


@pytest.mark.parametrize('dim', [1, 2, 5])
@pytest.mark.parametrize('estimate', [dimension.two_nearest, dimension.likelihood])
def test_neighbours_tell_the_dimension_of_a_sphere(dim, estimate):
  found = np.mean([estimate(sphere(dim, 600, seed=seed)) for seed in range(3)])
  assert abs(found / dim - 1) < 0.1


def test_points_with_a_copy_are_left_out():
  distances = sphere(2, 200)
  twice = np.concatenate([distances, distances[:50]])
  twice = np.concatenate([twice, np.concatenate([twice[:, :50]])], axis=1)
  assert abs(dimension.two_nearest(twice) / 2 - 1) < 0.25
  with pytest.raises(ValueError, match='without a copy'):
    dimension.two_nearest(np.zeros((9, 9)))


def test_principal_directions_of_a_plane_are_two():
  rng = np.random.default_rng(0)
  flat = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 30)) + 5
  shares = dimension.principal(flat)
  np.testing.assert_allclose(shares[:2].sum(), 1)
  assert dimension.number_for(shares, 0.999) == 2
  assert 1 < dimension.participation(shares) <= 2
  with pytest.raises(ValueError, match='equal'):
    dimension.principal(np.ones((4, 3)))


def test_participation_counts_equal_directions():
  assert dimension.participation(np.full(7, 3.0)) == pytest.approx(7)
  assert dimension.number_for(np.full(10, 0.1)) == 9


@pytest.mark.parametrize('dim', [1, 20])
def test_directions_of_a_subspace_are_nearly_orthonormal(dim):
  start = {'a': jnp.ones((5, 5)), 'b': jnp.zeros(12)}
  at = dimension.subspace(start, dim, jax.random.key(0))
  np.testing.assert_array_equal(at(jnp.zeros(dim))['a'], 1)
  jacobian = jax.jacfwd(lambda z: jnp.concatenate([x.ravel() for x in at(z).values()]))(
    jnp.zeros(dim)
  )
  gram = jacobian.T @ jacobian
  np.testing.assert_allclose(np.diag(gram), 1, rtol=1e-5)
  assert np.linalg.matrix_rank(jacobian) == dim
  # Of 64 directions of length 64, 37 places are kept: products are sums of 37 random signs.
  assert np.abs(gram - np.eye(dim)).max() < 4 / np.sqrt(37)


def test_a_subspace_has_at_most_all_dimensions():
  with pytest.raises(ValueError, match='dim is 13.*12'):
    dimension.subspace({'a': jnp.zeros(12)}, 13, jax.random.key(0))


def test_training_in_a_subspace_solves_what_fits_into_it():
  # Any point at which ten sums of ten parameters are 1: the intrinsic dimension is 10.
  def loss(params, _):
    return jnp.sum((params['w'].reshape(10, 10).sum(1) - 1) ** 2)

  def final(dim):
    found = dimension.train_in_subspace(
      loss, {'w': jnp.zeros(100)}, jnp.zeros((2000, 1)), dim=dim, key=jax.random.key(0),
      learning_rate=0.1,
    )  # fmt: skip
    return loss(found, None)

  assert final(5) > 1
  assert final(12) < 1e-3


def test_the_fisher_information_of_a_linear_regression_is_that_of_its_inputs():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 8))
  noise = rng.choice([-1.0, 1.0], 50)

  def loss(params, batch):
    inputs, target = batch
    return jnp.mean((inputs @ params['w'] - target) ** 2) / 2

  w = rng.normal(size=8)
  found = dimension.fisher(
    loss, {'w': jnp.asarray(w)}, (jnp.asarray(x), jnp.asarray(x @ w + noise))
  )
  want = np.sort(np.linalg.eigvalsh(x.T @ x / 50))[::-1]
  np.testing.assert_allclose(found[:3], want[:3], rtol=1e-4)
  np.testing.assert_allclose(found[3:], 0, atol=1e-4 * want[0])
