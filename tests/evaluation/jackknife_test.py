"""Intervals of numbers of two sets: as wide as they should be."""

import numpy as np
import pytest

from wsjax.evaluation import jackknife
from wsjax.evaluation.metrics import two_sample


def _gap(a, b):
  return float(a.mean() - b.mean())


def test_without_blocks_it_is_the_standard_error_of_a_difference():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 40, 1)) * 3
  found = jackknife.interval(_gap, a[None], b, num_blocks=40)
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
  near, far = (jackknife.interval(_gap, x, b) for x in (same, apart))
  assert near['value'] == pytest.approx(far['value'])
  assert far['high'] - far['low'] > 2 * (near['high'] - near['low'])
  assert far['method'] == 'jackknife-seeds' and len(far['per_seed']) == 3


def test_it_ends_where_the_statistic_ends():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 30, 2))

  def share(a, b):
    return two_sample.one_nearest(a, b).mean()

  free = jackknife.interval(share, a[None] + 2, b)
  kept = jackknife.interval(share, a[None] + 2, b, bounds=(0.0, 0.97))
  assert free['low'] < 0.95 and free['high'] > 0.97
  assert kept == {**free, 'high': 0.97}


def test_what_cannot_be_told_apart_is_inside_as_often_as_promised():
  hits = 0
  for seed in range(200):
    a, b = np.random.default_rng(seed).standard_normal((2, 60, 6))
    found = jackknife.interval(lambda a, b: two_sample.one_nearest(a, b).mean(), a[None], b)
    hits += found['low'] <= 59 / 119 <= found['high']
  # 190 expected; at least three standard errors below it.
  assert hits >= 181
