"""Maxima and their gradients are those of NumPy, also where rounding plays."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from wsjax.layers import maxima


@hypothesis.given(st.integers(1, 7), st.integers(0, 99))
@hypothesis.settings(max_examples=20, deadline=None)
def test_values_and_gradients_are_those_of_every_entry(n, seed):
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((n, 4, 3)).astype(np.float32)
  weight = rng.standard_normal(3).astype(np.float32)

  def total(x):
    return jnp.sum(maxima.over(x, (0, 1)) * weight)

  np.testing.assert_array_equal(maxima.over(x, (0, 1)), x.max((0, 1)))
  slow = np.zeros((n * 4, 3))
  flat = x.reshape(-1, 3)
  for column in range(3):
    slow[flat[:, column].argmax(), column] = weight[column]
  np.testing.assert_allclose(jax.grad(total)(x), slow.reshape(x.shape), atol=1e-7)


def test_segments_are_maxima_of_their_rows_and_empty_ones_are_minus_infinity():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((9, 2)).astype(np.float32)
  segments = np.array([0, 3, 0, 1, 1, 1, 3, 0, 3])
  found = maxima.of_segments(x, segments, 4)
  for segment in (0, 1, 3):
    rows = x[segments == segment]
    np.testing.assert_array_equal(found[segment], rows.max(0))
    gradient = jax.grad(lambda x, s=segment: maxima.of_segments(x, segments, 4)[s].sum())(x)
    expected = (x == rows.max(0)) & (segments == segment)[:, None]
    np.testing.assert_allclose(gradient, expected, atol=1e-7)
  assert np.all(np.isneginf(found[2]))


def test_equal_entries_share_the_gradient():
  x = jnp.asarray([[1.0], [2.0], [2.0], [0.0]])
  for function in (
    lambda x: maxima.over(x, 0),
    lambda x: maxima.of_segments(x, jnp.zeros(4, int), 1)[0],
  ):
    gradient = jax.grad(lambda x, f=function: f(x).sum())(x)
    np.testing.assert_allclose(gradient[:, 0], [0, 0.5, 0.5, 0])


@pytest.mark.parametrize('off', [0.0, 1e-7])
def test_an_entry_that_is_rounded_anew_still_has_a_gradient(off):
  """As a compiler may do, entries are compared with a rounded copy."""
  x = jnp.asarray([[1.0], [3.0]])

  def gradient(reach):
    near = reach(x, x.max(0, keepdims=True) * (1 + off))
    return near / near.sum(0, keepdims=True)

  with np.errstate(invalid='ignore'):
    exact = gradient(lambda x, most: (x == most).astype(float))
  ours = gradient(maxima._reach)
  np.testing.assert_allclose(ours[:, 0], [0, 1])
  assert np.isnan(exact).any() == bool(off)
