"""Neighbours of canonical forms are those of matching every pair."""

import hypothesis
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

from wsjax import networks
from wsjax.evaluation import baselines, neighbours
from wsjax.models import mlp
from wsjax.symmetry import canonicalize


@pytest.fixture(scope='module')
def zoo():
  """Spec and 30 canonical networks with some likeness."""
  spec = mlp.MLP(widths=(6, 8, 7, 4)).spec
  rng = np.random.default_rng(0)
  nets = {
    leaf.path: (
      rng.standard_normal((1, *leaf.shape)) + 0.7 * rng.standard_normal((30, *leaf.shape))
    ).astype(np.float32)
    for leaf in spec.leaves
  }
  return spec, _canonical(nets, spec)


def _canonical(nets, spec, reference=None):
  reference = reference or {path: value[0] for path, value in nets.items()}
  return canonicalize.canonicalize(nets, spec, 'permutation+scale', reference=reference)


def _search(nets, train, spec, **options):
  shape = len(next(iter(nets.values()))), len(next(iter(train.values())))
  return neighbours.search(nets, train, spec, np.zeros(shape), **options)


def test_distance_is_about_that_of_matching_every_pair(zoo):
  spec, nets = zoo
  samples, train = networks.take(nets, slice(24, 30)), networks.take(nets, slice(24))
  found = _search(samples, train, spec)
  assert found.neighbours.shape == (6, 16)
  assert all(len(set(row)) == 16 for row in found.neighbours.tolist())
  reference = {path: value[0] for path, value in train.items()}
  full = spec.distance(samples, train, reference=reference).min(axis=1)
  assert np.all(found.distance >= full - 1e-4)
  np.testing.assert_allclose(found.distance, full, rtol=0.1)


def test_no_network_is_its_own_neighbour(zoo):
  spec, nets = zoo
  few = networks.take(nets, slice(4))
  found = _search(few, few, spec, excluded=np.arange(4))
  assert found.neighbours.shape == (4, 3)
  assert np.all(found.neighbours != np.arange(4)[:, None])
  assert np.all(found.distance > 0.1)
  one = networks.take(nets, slice(1))
  with pytest.raises(ValueError, match='No network is left'):
    _search(one, one, spec, excluded=np.arange(1))


def test_both_parents_of_a_lopsided_blend_are_found(zoo):
  spec, nets = zoo
  train = networks.take(nets, slice(24))
  vectors = networks.flatten(train)
  far = int(np.argmax(np.linalg.norm(vectors - vectors[3:4], axis=1)))
  share = np.float32(0.9)
  blend = {path: share * value[[3]] + (1 - share) * value[[far]] for path, value in train.items()}
  found = _search(blend, train, spec, counts=(1, 1, 0))
  assert found.neighbours.tolist() == [[3, far]]
  assert found.residual[0] < 0.05
  # Its nearest neighbours alone do not have the second one.
  near = _search(blend, train, spec, counts=(2, 0, 0))
  assert near.residual[0] > 0.7


def test_only_what_was_made_of_one_network_is_near_to_one(zoo):
  spec, nets = zoo
  samples, train = networks.take(nets, slice(24, 30)), networks.take(nets, slice(24))
  found = _search(samples, train, spec)
  two = np.sort(np.sqrt(np.diagonal(found.gram, axis1=1, axis2=2)), axis=1)
  np.testing.assert_allclose(found.ratio, two[:, 0] / two[:, 1], rtol=1e-5)
  assert found.ratio.min() > 0.8
  noisy = {path: value[:6] + np.float32(0.05) for path, value in train.items()}
  assert _search(noisy, train, spec).ratio.max() < 0.2
  assert np.all(_search(networks.take(train, slice(6)), train, spec).ratio < 1e-2)
  one = _search(samples, networks.take(train, slice(1)), spec)
  assert np.isnan(one.ratio).all()


def test_blocks_of_rows_find_the_same(zoo, monkeypatch):
  spec, nets = zoo
  alike = np.random.default_rng(1).random((30, 30))

  def search():
    return neighbours.search(nets, nets, spec, alike, excluded=np.arange(30), counts=(4, 2, 3))

  whole = search()
  others = np.where(np.eye(30, dtype=bool), -1, alike)
  # Of what is not near, the most alike is taken, of the right row.
  for row, found in zip(others, whole.neighbours, strict=True):
    rest = np.setdiff1d(np.arange(30), found)
    assert row[found].max() >= row[rest].max()
  monkeypatch.setattr(neighbours, '_ROWS', 7)
  parts = search()
  np.testing.assert_array_equal(
    np.sort(whole.neighbours, axis=1), np.sort(parts.neighbours, axis=1)
  )
  np.testing.assert_allclose(whole.distance, parts.distance, rtol=1e-5)


def test_moved_networks_have_the_same_neighbourhood(zoo):
  spec, nets = zoo
  train = networks.take(nets, slice(24))
  reference = {path: value[0] for path, value in train.items()}
  samples = _canonical(networks.take(nets, slice(24, 30)), spec, reference)
  moved = _canonical(baselines.move(samples, spec, seed=1), spec, reference)
  here, there = (_search(x, train, spec) for x in (samples, moved))
  np.testing.assert_array_equal(here.neighbours, there.neighbours)
  np.testing.assert_allclose(here.distance, there.distance, rtol=1e-3)
  np.testing.assert_allclose(here.residual, there.residual, rtol=1e-3)


def _slow(corners):
  """Distance of the origin to the hull, by non-negative least squares.

  The sum of the weights is kept at 1 by a row of large weight.
  """
  large = 1e4 * np.abs(corners).max()
  table = np.concatenate([corners.T, np.full((1, len(corners)), large)])
  target = np.zeros(len(table))
  target[-1] = large
  weights, _ = scipy.optimize.nnls(table, target)
  return np.linalg.norm(weights @ corners), weights


@hypothesis.given(st.sampled_from([2, 5, 40]), st.floats(0, 3), st.integers(0, 999))
@hypothesis.settings(max_examples=40, deadline=None)
def test_projection_is_that_of_nnls(dims, shift, seed):
  rng = np.random.default_rng(seed)
  corners = rng.standard_normal((16, dims)) + shift
  least, _ = _slow(corners)
  nearest = np.min(np.linalg.norm(corners, axis=1))
  found = neighbours.hull_residual((corners @ corners.T)[None])
  assert found[0] == pytest.approx(least / nearest, abs=3e-3)


def test_weights_are_on_the_simplex_and_find_the_blend():
  rng = np.random.default_rng(0)
  corners = rng.standard_normal((16, 500))
  truth = rng.dirichlet(np.full(16, 0.3))
  gap = corners - truth @ corners
  weights = np.asarray(neighbours.project(np.float32(gap @ gap.T)))
  assert weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-5)
  np.testing.assert_allclose(weights, truth, atol=2e-3)
  np.testing.assert_allclose(weights, _slow(gap)[1], atol=2e-3)


def test_blend_copy_noisy_copy_and_a_new_network_differ():
  rng = np.random.default_rng(1)
  zoo, (new,) = rng.standard_normal((16, 2000)), rng.standard_normal((1, 2000))
  noisy = zoo[3] + 0.1 * rng.standard_normal(2000)
  gaps = zoo[None] - np.stack([zoo.mean(0), zoo[3], noisy, new])[:, None]
  found = neighbours.hull_residual(gaps @ np.swapaxes(gaps, 1, 2))
  # New: the mean of 16 is at sqrt(17 / 16), each of them at sqrt(2).
  np.testing.assert_allclose(found, [0, 1, 1, np.sqrt(17 / 32)], atol=0.02)
