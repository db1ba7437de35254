"""Intervals agree with SciPy and with slow resampling, and cover."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from tests.reference import evaluation as reference
from wsjax.evaluation import statistics, two_sample

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
  ours = statistics.over_networks(values, ONE(60), _resampler(), window=window)

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
  pooled = statistics.over_networks(values, ONE(150), _resampler())
  nested = statistics.over_networks(values, groups, _resampler())
  assert nested['high'] - nested['low'] > 3 * (pooled['high'] - pooled['low'])
  assert nested['method'] == 'bootstrap-seeds-nets'


def test_resampled_weights_sum_to_one():
  resampler = _resampler(num_items=20, num_bootstrap=50)
  for weights in (resampler.items, resampler.networks(np.repeat([0, 1], 4))):
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
  assert 'not_run' in statistics.over_networks(np.full(3, np.nan), ONE(3), _resampler())
  one = statistics.over_networks(np.ones(1), ONE(1), _resampler())
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


def test_a_resample_without_a_value_is_left_out_of_the_interval():
  resamples = np.array([0.0, np.nan, 1.0, np.inf])
  found = statistics.stat(0.5, resamples, n=4, method='bootstrap')
  assert (found['low'], found['high']) == pytest.approx((0.025, 0.975))
  none = statistics.stat(0.5, resamples[1:2], n=4, method='bootstrap')
  assert none['low'] is none['high'] is None and none['method'] == 'none'


def test_over_seeds_is_the_mean_over_networks_and_seeds():
  table = np.random.default_rng(0).normal(size=(3, 40))
  found = statistics.over_seeds(lambda s, rows: table[s, rows].mean(), 3, 40, 500, 0)
  assert found['value'] == pytest.approx(table.mean())
  assert found['per_seed'] == pytest.approx(table.mean(axis=1))
  assert found['low'] < found['value'] < found['high']


def test_a_jackknife_of_one_network_has_no_interval():
  found = statistics.jackknife(_gap, np.ones((1, 1, 2)), np.zeros((1, 2)))
  assert found['value'] == 1 and found['low'] is found['high'] is None
  broken = statistics.jackknife(lambda a, b: np.nan, np.ones((2, 3, 2)), np.zeros((3, 2)))
  assert broken['value'] is None and broken['per_seed'] == [None, None]


def _gap(a, b):
  return float(a.mean() - b.mean())


def test_without_blocks_it_is_the_standard_error_of_a_difference():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 40, 1)) * 3
  found = statistics.jackknife(_gap, a[None], b, num_blocks=40)
  assert found['value'] == pytest.approx(_gap(a, b))
  assert found['method'] == 'jackknife' and found['n'] == 40
  pairs = (a - b)[:, 0]
  error = pairs.std(ddof=1) / 40**0.5
  assert found['high'] - found['value'] == pytest.approx(2.0227 * error, 1e-3)


def test_seeds_that_differ_widen_it():
  rng = np.random.default_rng(0)
  b = rng.standard_normal((40, 1))
  same = rng.standard_normal((3, 40, 1))
  apart = same + np.array([-1.0, 0.0, 1.0])[:, None, None]
  near, far = (statistics.jackknife(_gap, x, b) for x in (same, apart))
  assert near['value'] == pytest.approx(far['value'])
  assert far['high'] - far['low'] > 2 * (near['high'] - near['low'])
  assert far['method'] == 'jackknife-seeds' and len(far['per_seed']) == 3


def test_it_ends_where_the_statistic_ends():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 30, 2))

  def share(a, b):
    return two_sample.one_nearest(a, b).mean()

  free = statistics.jackknife(share, a[None] + 2, b)
  kept = statistics.jackknife(share, a[None] + 2, b, bounds=(0.0, 0.97))
  assert free['low'] < 0.95 and free['high'] > 0.97
  assert kept == {**free, 'high': 0.97}


def test_what_cannot_be_told_apart_is_inside_as_often_as_promised():
  hits = 0
  for seed in range(200):
    a, b = np.random.default_rng(seed).standard_normal((2, 60, 6))
    found = statistics.jackknife(lambda a, b: two_sample.one_nearest(a, b).mean(), a[None], b)
    hits += found['low'] <= 59 / 119 <= found['high']
  # 190 expected; at least three standard errors below it.
  assert hits >= 181
