"""Spread and histograms of weights against NumPy."""

import numpy as np
import pytest

from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import fidelity

VECTORS = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)


def test_dispersion_is_the_mean_variance():
  slow = np.sqrt(np.mean(np.var(VECTORS, axis=0, ddof=1)))
  assert fidelity.dispersion(fidelity.gram(VECTORS)) == pytest.approx(slow, rel=1e-5)
  weights = np.zeros((1, 9))
  weights[0, [0, 1]] = 0.5
  pair = np.sqrt(np.mean(np.var(VECTORS[:2], axis=0)) * 9 / 8)
  assert fidelity.dispersion(fidelity.gram(VECTORS), weights=weights) == pytest.approx(
    pair, rel=1e-4
  )


def test_an_offset_is_no_spread():
  here, there = (
    float(fidelity.dispersion(fidelity.gram(VECTORS + np.float32(offset)))) for offset in (0, 100)
  )
  assert there == pytest.approx(here, rel=1e-3)


def test_collapse_has_no_spread_but_the_size_of_the_zoo():
  mean = np.repeat(VECTORS[:1], 5, axis=0)
  rms = float(np.sqrt(np.mean(mean**2)))
  metrics = fidelity.metrics(mean, 1.0, rms, np.zeros(5), statistics.Resampler(0, 100))
  assert metrics['rms_ratio']['value'] == pytest.approx(0, abs=1e-3)
  assert metrics['norm_ratio']['value'] == pytest.approx(1)


def test_histogram_area_is_the_share_inside():
  zoo = {'a': VECTORS.reshape(9, 5, 8), 'b': np.zeros((9, 3), np.float32)}
  edges = fidelity.bin_edges(zoo)
  density = fidelity.densities(zoo, edges)
  area = np.sum(np.array(density['a']) * np.diff(edges['a']))
  assert 0.98 < area <= 1
  far = fidelity.densities({'a': VECTORS + 100}, edges)
  assert np.sum(far['a']) == 0
  assert np.sum(np.array(density['b']) * np.diff(edges['b'])) == pytest.approx(1)
