"""Histograms of weights."""

import numpy as np
import pytest

from wsjax.evaluation.metrics import fidelity

VECTORS = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)


def test_histogram_area_is_the_share_inside():
  zoo = {'a': VECTORS.reshape(9, 5, 8), 'b': np.zeros((9, 3), np.float32)}
  edges = fidelity.bin_edges(zoo)
  density = fidelity.densities(zoo, edges)
  area = np.sum(np.array(density['a']) * np.diff(edges['a']))
  assert 0.98 < area <= 1
  far = fidelity.densities({'a': VECTORS + 100}, edges)
  assert np.sum(far['a']) == 0
  assert np.sum(np.array(density['b']) * np.diff(edges['b'])) == pytest.approx(1)
