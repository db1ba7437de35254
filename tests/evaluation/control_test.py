"""Control against SciPy and scikit-learn, and generators of known faults."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import control

RNG = np.random.default_rng(0)
REQUESTED = RNG.uniform(0.5, 0.9, 60)
NOISE = 0.03 * RNG.standard_normal(60)
GROUPS = np.zeros(60, int)


def _measure(achieved, requested=REQUESTED, groups=GROUPS):
  return control.measure(requested, achieved, groups, statistics.Resampler(num_bootstrap=1000))


def test_values_are_those_of_the_libraries():
  achieved = 0.2 + 0.7 * REQUESTED + NOISE
  stats = _measure(achieved)
  line = scipy.stats.linregress(REQUESTED, achieved)
  expected = {
    'spearman': scipy.stats.spearmanr(REQUESTED, achieved).statistic,
    'mae': sklearn.metrics.mean_absolute_error(REQUESTED, achieved),
    'slope': line.slope,
    'r2': sklearn.metrics.r2_score(REQUESTED, achieved),
  }
  for key, value in expected.items():
    assert stats[key]['value'] == pytest.approx(value), key
    assert stats[key]['low'] < value < stats[key]['high']
    assert stats[key]['n'] == 60
  # Noise of one size: the bootstrap is near the textbook interval.
  width = stats['slope']['high'] - stats['slope']['low']
  assert width == pytest.approx(2 * 1.96 * line.stderr, rel=0.25)


def test_obedience_and_disregard():
  stats = {key: s['value'] for key, s in _measure(REQUESTED).items()}
  assert stats == pytest.approx({'spearman': 1, 'mae': 0, 'slope': 1, 'r2': 1}, abs=1e-9)
  stats = _measure(0.7 + NOISE)
  assert stats['slope']['low'] < 0 < stats['slope']['high']
  assert stats['r2']['value'] < 0
  # All in the right order, but squeezed together: ranks alone would not tell.
  stats = _measure(0.7 + 0.1 * REQUESTED)
  assert stats['spearman']['value'] == pytest.approx(1)
  assert stats['slope']['value'] == pytest.approx(0.1)


def test_what_cannot_be_measured_says_so():
  same = _measure(NOISE, requested=np.full(60, 0.5))
  assert 'one request' in same['slope']['not_run']
  constant = _measure(np.full(60, 0.7))
  assert constant['spearman']['value'] is None
  assert constant['slope']['value'] == pytest.approx(0)
  dead = np.where(np.arange(60) < 10, np.nan, REQUESTED)
  assert _measure(dead)['mae']['n'] == 50
  with pytest.raises(ValueError, match='one request'):
    _measure(NOISE[:5])


def _compare(achieved, train_labels, train_achieved):
  return control.compare(
    REQUESTED,
    achieved,
    train_labels,
    train_achieved,
    GROUPS,
    statistics.Resampler(num_bootstrap=500),
  )


def test_retrieval_is_the_nearest_label():
  labels = np.array([0.1, 0.6, 0.6, 0.8])
  np.testing.assert_array_equal(
    control.nearest(np.array([0.55, 0.75, 2.0, 0.0]), labels), [1, 3, 3, 0]
  )
  everywhere = np.linspace(0.5, 0.9, 200)
  result = _compare(REQUESTED + NOISE, everywhere, everywhere)
  assert result['retrieval']['mae']['value'] < 0.002
  assert result['mae_gain']['high'] < 0, 'a dense zoo is hard to beat'
  broken = np.where(np.arange(200) % 2, np.nan, everywhere)
  again = _compare(REQUESTED + NOISE, broken, broken)
  assert again['retrieval']['mae']['value'] < 0.004
  with pytest.raises(ValueError, match='finite labels'):
    _compare(REQUESTED, np.full(3, np.nan), np.ones(3))


def test_a_generator_can_beat_a_zoo_with_a_gap():
  gap = np.concatenate([np.linspace(0.5, 0.55, 20), np.linspace(0.85, 0.9, 20)])
  result = _compare(REQUESTED + 0.1 * NOISE, gap, gap)
  assert result['mae_gain']['low'] > 0
  mae = [result[key]['mae']['value'] for key in ('retrieval', 'generator')]
  assert result['mae_gain']['value'] == pytest.approx(mae[0] - mae[1])


def test_requests_beyond_the_zoo_are_flagged_and_read_apart():
  labels = np.linspace(0.5, 0.7, 50)
  capped = np.minimum(REQUESTED, 0.7)
  result = _compare(capped, labels, labels)
  beyond = REQUESTED > 0.7
  assert result['outside']['value'] == pytest.approx(beyond.mean())
  assert result['inside']['slope']['value'] == pytest.approx(1)
  assert result['beyond']['slope']['value'] == pytest.approx(0, abs=1e-9)
  assert result['beyond']['mae']['n'] == beyond.sum()
