"""Disagreement by matrix product is disagreement pair by pair."""

import numpy as np
import pytest

from tests.reference import evaluation as reference
from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import diversity

LABELS = np.random.default_rng(0).integers(-1, 4, size=(6, 50))


def test_disagreement_is_that_of_all_pairs():
  agree = diversity.agreement(LABELS)
  error = np.full(6, 0.25)
  value = diversity.disagreement(agree, error, weights=np.full((1, 6), 1 / 6))
  assert value[0] == pytest.approx(reference.disagreement(LABELS) / 0.25)


def test_a_network_drawn_twice_is_no_pair():
  agree = diversity.agreement(LABELS)
  weights = np.array([[0.5, 0.25, 0.25, 0, 0, 0]])
  value = diversity.disagreement(agree, np.ones(6), weights=weights)[0]
  # Pairs (0, 1) and (0, 2) have weight 1/8 each, (1, 2) 1/16, all twice.
  d = 1 - agree
  slow = (2 * d[0, 1] + 2 * d[0, 2] + d[1, 2]) / 5
  assert value == pytest.approx(slow)


def test_copies_do_not_disagree_and_one_network_cannot():
  resampler = statistics.Resampler(50, 100)
  copies = np.repeat(LABELS[:1], 4, axis=0)
  correct = np.zeros(copies.shape, bool)
  metrics = diversity.metrics(copies, correct, np.zeros(4), resampler)
  assert metrics['disagreement']['value'] == 0
  one = diversity.metrics(copies[:1], correct[:1], np.zeros(1), resampler)
  assert one['disagreement']['value'] is None
