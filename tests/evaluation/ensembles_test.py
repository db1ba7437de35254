"""Ensembles against loops, and what copies and independent runs gain."""

import types

import numpy as np
import pytest

from tests.evaluation import given
from tests.reference import evaluation as reference
from wsjax import networks
from wsjax.evaluation import predictions
from wsjax.evaluation.metrics import ensembles

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=40)


def _log_p(seed, nets=8):
  logits = np.random.default_rng(seed).standard_normal((nets, 40, 3))
  logits += 1.5 * np.eye(3)[LABELS]
  return np.log(reference.softmax(logits)).astype(np.float32)


def _values(log_p, groups, labels=LABELS, seed=0):
  sample = given.Given(
    groups,
    len(labels),
    known=[(ensembles.log_probabilities, log_p)],
    y=labels,
    reference=types.SimpleNamespace(seed=seed),
  )
  return given.measured('ensembles', sample)


def test_members_are_of_one_seed_and_in_one_ensemble():
  groups = np.repeat([0, 1, 2], [9, 4, 3])
  members = ensembles.draw(groups, 4)
  assert members.shape == (3, 4)
  assert len(np.unique(members)) == 12
  assert [len(set(groups[row])) for row in members] == [1, 1, 1]
  assert ensembles.draw(groups, 10).shape == (0, 10)


def test_entries_are_those_of_a_loop():
  log_p, groups = _log_p(0), np.zeros(8, int)
  values = _values(log_p, groups, seed=5)
  accuracy, nll, gain, ece = [], [], [], []
  for members in ensembles.draw(groups, 4, seed=5):
    mean = sum(np.exp(log_p[i]) for i in members) / 4
    right = [np.argmax(mean[j]) == LABELS[j] for j in range(40)]
    loss = np.mean([-np.log(mean[j, LABELS[j]]) for j in range(40)])
    singles = [-np.mean([log_p[i, j, LABELS[j]] for j in range(40)]) for i in members]
    accuracy.append(np.mean(right))
    nll.append(loss)
    gain.append(np.mean(singles) - loss)
    ece.append(reference.ece(right, mean.max(axis=1)))
  for key, slow in (
    ('accuracy', accuracy), ('nll', nll), ('gain', gain), ('ece', ece)
  ):  # fmt: skip
    stat = values[f'ensemble4_{key}']
    assert stat['value'] == pytest.approx(np.mean(slow), rel=1e-5), key
    assert stat['n'] == 2 and stat['low'] <= stat['value'] <= stat['high']


def test_copies_gain_nothing_and_different_networks_do():
  copies = np.repeat(_log_p(1)[:1], 8, axis=0)
  stats = _values(copies, np.zeros(8, int))
  assert stats['ensemble4_gain']['value'] == pytest.approx(0, abs=1e-6)
  stats = _values(_log_p(1), np.zeros(8, int))
  assert stats['ensemble4_gain']['low'] > 0


def test_too_few_networks_say_so():
  stats = _values(_log_p(2), np.repeat([0, 1], 4))
  assert 'no seed has 16' in stats['ensemble16_gain']['not_run']
  assert stats['ensemble4_gain']['method'] == 'two-way-seeds'


def test_independent_runs_gain_more_from_more_members(zoo_reference):
  log_p = predictions.log_probabilities(
    zoo_reference.architecture, zoo_reference.train, zoo_reference.test_x
  )
  nll = -log_p[:, np.arange(360), zoo_reference.test_y]
  np.testing.assert_allclose(nll, zoo_reference.train_predictions.nll, atol=1e-5)
  stats = _values(log_p, np.zeros(len(log_p), int), zoo_reference.test_y)
  gain = [stats[f'ensemble{k}_gain']['value'] for k in (4, 16)]
  assert 0 < gain[0] < gain[1]
  accuracy = 1 - zoo_reference.train_errors.mean()
  assert stats['ensemble16_accuracy']['value'] > accuracy


def test_broken_networks_say_nothing(zoo_reference):
  net = networks.take(zoo_reference.train, np.arange(1))
  net['layer0/bias'] = np.full_like(net['layer0/bias'], np.inf)
  log_p = predictions.log_probabilities(zoo_reference.architecture, net, zoo_reference.test_x[:5])
  np.testing.assert_allclose(log_p, np.log(0.1), rtol=1e-5)
