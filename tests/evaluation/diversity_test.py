"""Disagreement by matrix product is disagreement pair by pair."""

import types

import numpy as np
import pytest

from tests.evaluation import given
from tests.reference import evaluation as reference
from wsjax.evaluation.metrics import diversity

LABELS = np.random.default_rng(0).integers(-1, 4, size=(6, 50))


def test_disagreement_is_that_of_all_pairs():
  agree = diversity.agreement(LABELS)
  error = np.full(6, 0.25)
  value = diversity.mean_disagreement(agree, error, weights=np.full((1, 6), 1 / 6))
  assert value[0] == pytest.approx(reference.disagreement(LABELS) / 0.25)


def test_a_network_drawn_twice_is_no_pair():
  agree = diversity.agreement(LABELS)
  weights = np.array([[0.5, 0.25, 0.25, 0, 0, 0]])
  value = diversity.mean_disagreement(agree, np.ones(6), weights=weights)[0]
  # Pairs (0, 1) and (0, 2) have weight 1/8 each, (1, 2) 1/16, all twice.
  d = 1 - agree
  slow = (2 * d[0, 1] + 2 * d[0, 2] + d[1, 2]) / 5
  assert value == pytest.approx(slow)


def test_copies_do_not_disagree_and_one_network_cannot():
  def stat(labels):
    sample = given.Given(
      np.zeros(len(labels)),
      50,
      predicted=types.SimpleNamespace(labels=labels),
      correct=np.zeros(labels.shape, bool),
    )
    return diversity.disagreement(sample, None)

  copies = np.repeat(LABELS[:1], 4, axis=0)
  assert stat(copies)['value'] == 0
  assert stat(copies[:1])['value'] is None


VECTORS = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)


def test_dispersion_is_the_mean_variance():
  slow = np.sqrt(np.mean(np.var(VECTORS, axis=0, ddof=1)))
  assert diversity.dispersion(diversity.gram(VECTORS)) == pytest.approx(slow, rel=1e-5)
  weights = np.zeros((1, 9))
  weights[0, [0, 1]] = 0.5
  pair = np.sqrt(np.mean(np.var(VECTORS[:2], axis=0)) * 9 / 8)
  assert diversity.dispersion(diversity.gram(VECTORS), weights=weights) == pytest.approx(
    pair, rel=1e-4
  )


def test_an_offset_is_no_spread():
  here, there = (
    float(diversity.dispersion(diversity.gram(VECTORS + np.float32(offset)))) for offset in (0, 100)
  )
  assert there == pytest.approx(here, rel=1e-3)


def test_collapse_has_no_spread():
  mean = np.repeat(VECTORS[:1], 5, axis=0)
  rms = float(np.sqrt(np.mean(mean**2)))
  assert diversity.dispersion(diversity.gram(mean)) / rms == pytest.approx(0, abs=1e-3)
