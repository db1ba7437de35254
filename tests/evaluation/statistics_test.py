"""Intervals agree with SciPy and with slow resampling, and cover."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from tests.reference import evaluation as reference
from wsjax.evaluation import statistics

ONE = np.zeros


def _resampler(**overrides):
  return statistics.Resampler(**{'num_bootstrap': 4000, **overrides})


@hypothesis.given(st.integers(2, 40), st.integers(0, 99))
def test_window_means_are_the_usual_statistics(n, seed):
  values = np.random.default_rng(seed).standard_normal(n)
  assert statistics.window_mean(values) == pytest.approx(values.mean())
  assert statistics.median(values) == pytest.approx(np.median(values))
  n4 = 4 * n
  values = np.random.default_rng(seed).standard_normal(n4)
  assert statistics.window_mean(values, 0.25, 0.75) == pytest.approx(
    scipy.stats.trim_mean(values, 0.25)
  )


def test_weights_mean_repetition():
  values = np.array([3.0, 1.0, 2.0])
  weights = np.array([[0.5, 0.25, 0.25]])
  repeated = np.array([3.0, 3.0, 1.0, 2.0])
  for low, high in ((0, 1), (0.25, 0.75), (0, 0.5)):
    np.testing.assert_allclose(
      statistics.window_mean(values, low, high, weights=weights)[0],
      statistics.window_mean(repeated, low, high),
    )


@pytest.mark.parametrize('window', [(0.0, 1.0), (0.25, 0.75), None])
def test_percentile_interval_is_that_of_scipy(window):
  values = np.random.default_rng(0).gamma(2.0, size=60)
  ours = statistics.over_nets(values, ONE(60), _resampler(), window=window)

  def statistic(x, axis):
    if window is None:
      return np.median(x, axis=axis)
    return scipy.stats.trim_mean(x, window[0], axis=axis)

  theirs = scipy.stats.bootstrap(
    (values,), statistic, n_resamples=4000, method='percentile',
    rng=np.random.default_rng(1),
  )  # fmt: skip
  width = theirs.confidence_interval.high - theirs.confidence_interval.low
  # Both are Monte-Carlo estimates of the same two quantiles.
  assert abs(ours['low'] - theirs.confidence_interval.low) < 0.1 * width
  assert abs(ours['high'] - theirs.confidence_interval.high) < 0.1 * width
  assert ours['n'] == 60 and ours['method'] == 'bootstrap-nets'


def test_two_way_interval_is_that_of_slow_resampling():
  rng = np.random.default_rng(0)
  table = (
    rng.standard_normal((12, 1)) + rng.standard_normal((1, 30))
    + rng.standard_normal((12, 30))
  )  # fmt: skip
  ours = statistics.two_way(table, ONE(12), _resampler(num_items=30))
  low, high = np.quantile(reference.two_way_bootstrap(table, 4000, 1), [0.025, 0.975])
  assert ours['value'] == pytest.approx(table.mean())
  assert abs(ours['low'] - low) < 0.08 * (high - low)
  assert abs(ours['high'] - high) < 0.08 * (high - low)
  assert ours['method'] == 'two-way'


def test_pooling_items_over_networks_would_be_too_narrow():
  rng = np.random.default_rng(1)
  table = rng.standard_normal((10, 1)) + 0.1 * rng.standard_normal((10, 500))
  two_way = statistics.two_way(table, ONE(10), _resampler(num_items=500))
  pooled = 2 * 1.96 * table.std() / np.sqrt(table.size)
  assert two_way['high'] - two_way['low'] > 10 * pooled


def test_seeds_that_differ_widen_the_interval():
  values = np.repeat([0.0, 1.0, 2.0], 50) + 0.01 * np.arange(150) % 0.1
  groups = np.repeat([0, 1, 2], 50)
  pooled = statistics.over_nets(values, ONE(150), _resampler())
  nested = statistics.over_nets(values, groups, _resampler())
  assert nested['high'] - nested['low'] > 3 * (pooled['high'] - pooled['low'])
  assert nested['method'] == 'bootstrap-seeds-nets'


def test_resampled_weights_sum_to_one():
  resampler = _resampler(num_items=20, num_bootstrap=50)
  for weights in (resampler.items, resampler.nets(np.repeat([0, 1], 4))):
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
  again = _resampler(num_items=20, num_bootstrap=50)
  np.testing.assert_array_equal(again.items, resampler.items)


def test_exact_interval_of_a_rate():
  # 0 of 100: the closed form 1 - (alpha / 2)^(1 / n).
  none = statistics.rate(np.zeros(100, bool))
  assert none['low'] == 0
  assert none['high'] == pytest.approx(1 - 0.025 ** (1 / 100))
  assert none['method'] == 'clopper-pearson' and none['n'] == 100


def test_what_was_not_measured_says_why():
  assert 'not_run' in statistics.over_nets(np.full(3, np.nan), ONE(3), _resampler())
  one = statistics.over_nets(np.ones(1), ONE(1), _resampler())
  assert one['value'] == 1 and one['low'] is None and one['method'] == 'none'


def test_holm_by_hand():
  # Sorted: 0.005, 0.01, 0.03, 0.04; times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; and none may be below
  # the one before it.
  np.testing.assert_allclose(
    statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02]
  )
  np.testing.assert_array_equal(statistics.holm(np.array([0.7, 0.6])), [1, 1])
  assert statistics.holm(np.array([0.03])) == 0.03
  for bad in ([1.5], [np.nan], [[0.5]]):
    with pytest.raises(ValueError, match='p_values'):
      statistics.holm(np.array(bad))


def test_holm_keeps_false_alarms_rare_and_plain_tests_do_not():
  p = np.random.default_rng(0).random((2000, 8))
  plain = np.mean(np.any(p <= 0.05, axis=1))
  adjusted = np.mean([np.any(statistics.holm(row) <= 0.05) for row in p])
  assert plain > 0.3
  assert adjusted == pytest.approx(0.05, abs=0.015)
