"""The scalar spline is monotone, smooth, and the identity in its tails."""

import functools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.generators.parts import spline

NUM_BINS, BOUND = 5, 3.0
AXIS = np.linspace(-1.5 * BOUND, 1.5 * BOUND, 301, dtype=np.float32)


@functools.partial(jax.jit, static_argnums=0)
def along(function, x, features):
  """`function` of a spline at each of x [n]."""
  knots = spline.knots(features, BOUND)
  return jax.vmap(lambda x: function(x, knots))(x)


def drawn(seed, scale=1.0):
  rng = np.random.default_rng(seed)
  return scale * rng.standard_normal(3 * NUM_BINS - 1).astype(np.float32)


def textbook(x, knots):
  """Equation 4 of the paper at one x, in float64 and bin by bin."""
  xs, ys, slopes = (np.asarray(v, np.float64) for v in knots)
  if not xs[0] < x < xs[-1]:
    return x
  k = next(k for k in range(len(xs) - 1) if xs[k] <= x <= xs[k + 1])
  s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
  xi = (x - xs[k]) / (xs[k + 1] - xs[k])
  above = (ys[k + 1] - ys[k]) * (s * xi**2 + slopes[k] * xi * (1 - xi))
  below = s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)
  return ys[k] + above / below


@hypothesis.given(seed=st.integers(0, 2**20))
def test_values_are_those_of_the_paper(seed):
  y, _ = along(spline.forward, AXIS, drawn(seed))
  knots = spline.knots(drawn(seed), BOUND)
  want = [textbook(float(x), knots) for x in AXIS]
  np.testing.assert_allclose(y, want, atol=1e-5)


@hypothesis.given(seed=st.integers(0, 2**20))
def test_it_is_monotone_and_inverts_to_five_digits(seed):
  y, log_slope = along(spline.forward, AXIS, drawn(seed))
  assert np.all(np.diff(y) > 0)
  back, log_slope_back = along(spline.inverse, y, drawn(seed))
  # Where the spline is flat, the last digits of y decide over x.
  rounding = 1e-6 / np.exp(np.asarray(log_slope))
  assert np.all(np.abs(back - AXIS) < 1e-5 + rounding)
  np.testing.assert_allclose(log_slope_back, -log_slope, atol=1e-3)


@hypothesis.given(seed=st.integers(0, 2**20))
def test_the_log_slope_is_that_of_the_derivative(seed):
  features = drawn(seed)
  for function in (spline.forward, spline.inverse):
    _, log_slope = along(function, AXIS, features)
    slope = derivatives(function, AXIS, features)
    np.testing.assert_allclose(log_slope, np.log(slope), atol=1e-4)


@functools.partial(jax.jit, static_argnums=0)
def derivatives(function, x, features):
  knots = spline.knots(features, BOUND)
  return jax.vmap(jax.grad(lambda x: function(x, knots)[0]))(x)


@pytest.mark.parametrize('function', [spline.forward, spline.inverse])
def test_tails_are_the_identity_and_join_smoothly(function):
  outside = np.asarray([-1e6, -3.5, -3.0, 3.0, 4.0, 1e6], np.float32)
  y, log_slope = along(function, outside, drawn(0))
  np.testing.assert_array_equal(y, outside)
  np.testing.assert_array_equal(log_slope, 0)
  inside = np.asarray([-3 + 1e-5, 3 - 1e-5], np.float32)
  y, log_slope = along(function, inside, drawn(0))
  np.testing.assert_allclose(y, inside, atol=1e-5)
  np.testing.assert_allclose(log_slope, 0, atol=1e-3)


def test_zeros_are_the_identity():
  y, log_slope = along(spline.forward, AXIS, 0 * drawn(0))
  np.testing.assert_allclose(y, AXIS, atol=1e-6)
  np.testing.assert_allclose(log_slope, 0, atol=1e-6)


@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_gradients_are_finite_even_in_tails_and_in_extreme_splines(scale):
  def total(features, x):
    y, log_slope = along(spline.forward, x, features)
    x, log_slope_back = along(spline.inverse, y, features)
    return sum(map(jax.numpy.sum, (y, log_slope, x, log_slope_back)))

  x = np.asarray([-1e6, -3.0, -1.0, 0.0, 2.9, 3.0, 7.0], np.float32)
  for gradient in jax.grad(total, (0, 1))(drawn(1, scale), x):
    assert np.all(np.isfinite(gradient))
