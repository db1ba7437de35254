"""Paths between networks whose losses are known."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.geometry import connectivity


def valley(params):
  """0 on the unit circle: a line between two of its points rises, a curve need not."""
  return (jnp.sum(params['w'] ** 2) - 1) ** 2


A, B = {'w': np.array([[1.0, 0.0]])}, {'w': np.array([[0.0, 1.0]])}


def test_the_loss_on_a_line_is_that_of_its_points():
  found = connectivity.paths(valley, A, B, num_points=5)
  t = np.linspace(0, 1, 5)
  np.testing.assert_allclose(found, [((1 - t) ** 2 + t**2 - 1) ** 2], atol=1e-6)
  np.testing.assert_allclose(connectivity.barrier(found), [0.25])


@pytest.mark.parametrize('curve, most', [('bezier', 0.01), ('chain', 0.1)])
def test_a_fitted_curve_follows_a_bent_valley(curve, most):
  # Within 5 % of the circle the loss is 0.01; two lines through a point outside stay within 15 %.
  found = connectivity.paths(valley, A, B, curve=curve)
  assert 0 <= connectivity.barrier(found)[0] < most


@pytest.mark.parametrize('curve', connectivity.CURVES.values())
def test_curves_begin_and_end_at_the_networks(curve):
  a, bend, b = np.random.default_rng(0).normal(size=(3, 4))
  chex.assert_trees_all_close(curve(a, bend, b, 0.0), a)
  chex.assert_trees_all_close(curve(a, bend, b, 1.0), b)


def test_a_chain_passes_through_its_bend():
  a, bend, b = np.random.default_rng(0).normal(size=(3, 4))
  chex.assert_trees_all_close(connectivity.chain(a, bend, b, 0.5), bend)


def test_the_matrix_of_barriers_has_those_of_all_pairs():
  angles = np.linspace(0, 2, 4)
  nets = {'w': np.stack([np.cos(angles), np.sin(angles)], 1)}
  found = connectivity.barrier_matrix(valley, nets)
  # The middle of a chord is at the cosine of half the angle between its ends.
  half = (angles[:, None] - angles) / 2
  np.testing.assert_allclose(found, np.sin(half) ** 4, atol=1e-5)
  np.testing.assert_allclose(
    connectivity.barrier_matrix(valley, {'w': nets['w'][:1]}, nets), found[:1], atol=1e-6
  )


def test_barriers_need_a_point_between():
  with pytest.raises(ValueError, match='a point between'):
    connectivity.barrier(np.zeros((3, 2)))


def test_an_unknown_curve_is_refused():
  with pytest.raises(ValueError, match='curve.*arc.*bezier'):
    connectivity.paths(valley, A, B, curve='arc')
