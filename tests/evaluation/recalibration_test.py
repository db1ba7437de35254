"""A temperature is the best one, and calibrated networks are seen to be so."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from tests.evaluation import given
from wsjax.evaluation.metrics import recalibration


def _calibrated(rng, num_nets, num_items, classes=4, size=2.0):
  """Logits, and labels of each network drawn from its own probabilities."""
  logits = size * rng.standard_normal((num_nets, num_items, classes))
  p = scipy.special.softmax(logits, axis=-1)
  # One draw for all networks would only fit one of them.
  labels = np.stack([[rng.choice(classes, p=row) for row in net] for net in p])
  return scipy.special.log_softmax(logits, axis=-1), labels


def test_temperature_is_that_of_a_general_minimiser():
  rng = np.random.default_rng(0)
  log_p = scipy.special.log_softmax(3 * rng.standard_normal((3, 50, 4)), axis=-1)
  labels = rng.integers(4, size=50)
  labels[::2] = log_p[0, ::2].argmax(axis=-1)
  found = recalibration.best_temperature(log_p, labels)
  for net, value in zip(log_p, found, strict=True):

    def loss(log_beta, net=net):
      scaled = scipy.special.log_softmax(net * np.exp(log_beta), axis=-1)
      return -scaled[np.arange(50), labels].sum() - scaled.mean()

    best = scipy.optimize.minimize_scalar(loss, bounds=np.log([0.01, 100]), method='bounded')
    assert value == pytest.approx(np.exp(-best.x), rel=1e-3)


def test_a_network_that_is_too_sure_is_mended_and_one_that_is_right_is_left():
  rng = np.random.default_rng(1)
  log_p, labels = _calibrated(rng, 1, 4000)
  labels = labels[0]
  item = np.arange(4000)
  plain = -log_p[:, item, labels].mean()
  assert recalibration.best_temperature(log_p, labels) == pytest.approx(1, abs=0.1)
  assert recalibration.scaled_losses(log_p, labels).mean() == pytest.approx(plain, abs=2e-3)
  sure = scipy.special.log_softmax(3 * log_p, axis=-1)
  assert recalibration.best_temperature(sure, labels) == pytest.approx(3, abs=0.3)
  assert -sure[:, item, labels].mean() > plain + 0.3
  assert recalibration.scaled_losses(sure, labels).mean() == pytest.approx(plain, abs=2e-3)


def test_the_temperature_of_an_item_is_found_without_it():
  """Labels that fit one half say nothing good of the other."""
  log_p = np.log(np.tile([0.9, 0.1], (1, 40, 1)))
  labels = np.arange(40) % 2  # Even items right, odd ones wrong.
  table = recalibration.scaled_losses(log_p, labels)[0]
  # Odd items say: flat. Even items, and half a label against them: surer.
  assert table[::2] == pytest.approx(np.log(2), abs=0.02)
  assert table[1::2] == pytest.approx(-np.log(0.5 / 21), rel=1e-3)


def test_one_error_of_a_good_network_does_not_cost_it_everything():
  rng = np.random.default_rng(4)
  labels = np.zeros(360, int)
  logits = np.zeros((20, 360, 10))
  logits[:, :, 0] = rng.uniform(4, 9, (20, 360))
  logits[:, 7, 1] = logits[:, 7, 0] + 2  # In one half only.
  log_p = scipy.special.log_softmax(logits, axis=-1)
  plain = -log_p[:, :, 0].mean()
  assert recalibration.scaled_losses(log_p, labels).mean() < 1.5 * plain


def test_the_error_without_bias_is_zero_for_calibrated_networks():
  rng = np.random.default_rng(2)
  values, plain = [], []
  for _ in range(40):
    log_p, labels = _calibrated(rng, 1, 100)
    p = np.exp(log_p)
    right = p.argmax(axis=-1) == labels
    values.append(recalibration.debiased(p.max(axis=-1), right)[0])
    plain.append(recalibration.classwise(p, labels[0])[0])
  error = np.std(values) / np.sqrt(len(values))
  assert np.mean(values) == pytest.approx(0, abs=3 * error)
  assert np.mean(plain) > 0.02, 'a sum over bins is biased'
  right = rng.random((1, 2000)) < 0.5
  worse = recalibration.debiased(np.full((1, 2000), 0.9), right)
  assert worse == pytest.approx(0.16, abs=0.02)


def test_classes_are_looked_at_one_by_one():
  """Two classes whose errors cancel in the confidence do not here."""
  p = np.tile([0.5, 0.3, 0.2], (1, 300, 1))
  labels = np.repeat([0, 1, 2], [150, 30, 120])
  assert recalibration.classwise(p, labels) == pytest.approx(0.4 / 3, abs=1e-6)


def test_entries_are_means_over_networks():
  rng = np.random.default_rng(3)
  log_p, labels = _calibrated(rng, 5, 60)
  known = [(recalibration.log_probabilities, log_p)]
  stats = given.measured('recalibration', given.Given(np.zeros(5), 60, known=known, y=labels[0]))
  assert stats['scaled_nll']['value'] == pytest.approx(
    recalibration.scaled_losses(log_p, labels[0]).mean()
  )
  assert stats['temperature']['n'] == 5
  for stat in stats.values():
    assert stat['low'] <= stat['value'] <= stat['high']
