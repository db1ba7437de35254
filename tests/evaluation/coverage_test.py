"""Balls counted by matrix are balls counted one by one."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.reference import evaluation as reference
from wsjax.evaluation.metrics import coverage


@hypothesis.given(st.integers(4, 9), st.floats(0, 2), st.integers(0, 99))
@hypothesis.settings(max_examples=20, deadline=None)
def test_every_share_is_that_of_balls_one_by_one(n, shift, seed):
  rng = np.random.default_rng(seed)
  real, samples = rng.standard_normal((2, n, 3))
  found = coverage.compare(real, samples + shift, k=3)
  slow = reference.coverage(real, samples + shift, 3)
  assert {key: np.mean(value) for key, value in found.items()} == (pytest.approx(slow))


def _shares(real, samples):
  found = coverage.compare(real, samples)
  return {key: float(np.mean(value)) for key, value in found.items()}


def test_more_of_the_same_covers():
  real, samples = np.random.default_rng(0).standard_normal((2, 200, 4))
  shares = _shares(real, samples)
  assert shares['density'] == pytest.approx(1, abs=0.15)
  # Of two equal distributions 1 - 2^-5: Naeem et al. 2020, lemma 2.
  assert shares['coverage'] == pytest.approx(1 - 2**-5, abs=0.03)


def test_one_mode_of_two_is_half_covered():
  rng = np.random.default_rng(0)
  real, samples = rng.standard_normal((2, 100, 4))
  real[:50] += 50
  shares = _shares(real, samples)
  assert shares['precision'] > 0.8 and shares['density'] > 0.7
  assert shares['coverage'] == pytest.approx(0.5, abs=0.05)
  assert shares['recall'] <= 0.5


def test_noise_covers_nothing_though_its_balls_reach_far():
  rng = np.random.default_rng(0)
  real = rng.standard_normal((100, 4))
  shares = _shares(real, 20 * rng.standard_normal((100, 4)))
  assert shares['density'] < 0.1 and shares['coverage'] < 0.2
  assert shares['recall'] > 0.5  # Why recall stands beside coverage.


def test_unequal_sizes_and_too_few_are_refused():
  with pytest.raises(ValueError, match='equally many'):
    coverage.compare(np.zeros((9, 2)), np.zeros((8, 2)))
  with pytest.raises(ValueError, match='more than 5'):
    coverage.compare(np.zeros((5, 2)), np.zeros((5, 2)))
