"""Projections onto hulls are those of a solver of quadratic programmes."""

import hypothesis
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

from wsjax.evaluation.metrics import convex_hull


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
  found = convex_hull.residual((corners @ corners.T)[None])
  assert found[0] == pytest.approx(least / nearest, abs=3e-3)


def test_weights_are_on_the_simplex_and_find_the_blend():
  rng = np.random.default_rng(0)
  corners = rng.standard_normal((16, 500))
  truth = rng.dirichlet(np.full(16, 0.3))
  gap = corners - truth @ corners
  weights = np.asarray(convex_hull.project(np.float32(gap @ gap.T)))
  assert weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-5)
  np.testing.assert_allclose(weights, truth, atol=2e-3)
  np.testing.assert_allclose(weights, _slow(gap)[1], atol=2e-3)


def test_blend_copy_noisy_copy_and_a_new_network_differ():
  rng = np.random.default_rng(1)
  zoo, (new,) = rng.standard_normal((16, 2000)), rng.standard_normal((1, 2000))
  noisy = zoo[3] + 0.1 * rng.standard_normal(2000)
  gaps = zoo[None] - np.stack([zoo.mean(0), zoo[3], noisy, new])[:, None]
  found = convex_hull.residual(gaps @ np.swapaxes(gaps, 1, 2))
  # New: the mean of 16 is at sqrt(17 / 16), each of them at sqrt(2).
  np.testing.assert_allclose(found, [0, 1, 1, np.sqrt(17 / 32)], atol=0.02)
