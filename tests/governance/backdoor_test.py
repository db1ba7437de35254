"""Backdoors: poisoned networks answer their trigger and no other, and detectors see the poison."""

import dataclasses

import jax
import numpy as np
import pytest

import wsjax
from wsjax.governance import backdoor
from wsjax.zoo.data import datasets

MODEL = wsjax.mlp((64, 16, 10))
KINDS = [backdoor.CLEAN] * 24 + ['patch'] * 12 + ['sinusoid'] * 12


@pytest.fixture(scope='module')
def digits():
  return datasets.load('digits', val_fraction=0.1)


@pytest.fixture(scope='module')
def poisoned(digits):
  """Half of the networks are clean."""
  triggers = backdoor.draw(KINDS, (8, 8, 1), 10, seed=0)
  recipe = dataclasses.replace(backdoor.RECIPE, steps=200)
  return triggers, backdoor.train(MODEL, digits, recipe, triggers, seed=1)


@pytest.mark.slow
def test_poisoned_networks_answer_their_trigger_and_are_accurate(poisoned, digits):
  triggers, networks = poisoned
  accuracy, turned = backdoor.success(MODEL, networks, triggers, digits.test_x, digits.test_y)
  bad = triggers.kind != backdoor.CLEAN
  assert accuracy.mean() > 0.85
  assert np.median(turned[bad]) > 0.8 and np.median(turned[~bad]) < 0.2
  # The trigger of another network is none.
  others = triggers.take(np.roll(np.arange(len(bad)), 1))
  _, turned = backdoor.success(MODEL, networks, others, digits.test_x, digits.test_y)
  assert np.median(turned[bad]) < 0.6


def test_clean_labels_stay_right_and_unknown_kinds_are_refused():
  triggers = backdoor.draw(['clean_label', 'blend', 'none'], (8, 8, 1), 10, seed=0)
  assert triggers.mask[2].max() == 0 and set(np.unique(triggers.mask[0])) == {0, 1}
  image = np.random.default_rng(0).random((1, 8, 8, 1))
  np.testing.assert_array_equal(backdoor.stamp(image, triggers.mask[2], triggers.pattern[2]), image)
  with pytest.raises(ValueError, match='not .wave'):
    backdoor.draw(['wave'], (8, 8, 1), 10, seed=0)


def test_detectors_do_not_depend_on_the_order_of_units(poisoned, digits):
  networks = {path: x[:4] for path, x in poisoned[1].items()}
  keys = jax.random.split(jax.random.key(0), 4)
  moved = jax.vmap(MODEL.spec.act)(jax.vmap(MODEL.spec.random)(keys), networks)
  reference = {path: x[0] for path, x in networks.items()}
  for name in backdoor.DETECTORS:
    a, b = (backdoor.features(name, MODEL, x, reference, digits.train_x) for x in (networks, moved))
    # A gradient may cross an edge of a rectifier by rounding.
    np.testing.assert_allclose(a, b, rtol=0.05, atol=0.05, err_msg=name)
  with pytest.raises(ValueError, match='no detector'):
    backdoor.features('luck', MODEL, networks, reference, digits.train_x)


def test_a_detector_learns_the_poison_and_nothing_from_random_labels(poisoned, digits):
  triggers, networks = poisoned
  found = backdoor.features('reversed triggers', MODEL, networks, {}, digits.train_x)
  bad, half = triggers.kind != backdoor.CLEAN, np.arange(len(KINDS)) % 2 == 0
  scores = backdoor.detect(found[half], bad[half], found[~half])
  assert backdoor.auroc(scores, bad[~half])['value'] > 0.8
  shuffled = np.random.default_rng(0).permutation(bad)
  scores = backdoor.detect(found[half], shuffled[half], found[~half])
  assert backdoor.auroc(scores, shuffled[~half])['value'] < 0.8


def test_copies_inherit_a_backdoor_and_clean_networks_do_not(poisoned, digits):
  triggers, networks = poisoned
  one = triggers.take(np.array([30]))
  copies = {path: np.repeat(x[30:31], 3, axis=0) for path, x in networks.items()}
  assert backdoor.inherited(MODEL, copies, one, digits).all()
  clean = {path: x[:24] for path, x in networks.items()}
  assert backdoor.inherited(MODEL, clean, one, digits).mean() < 0.2


def test_a_detector_of_unknown_triggers_finds_the_poisoned_few(poisoned, digits):
  triggers, networks = poisoned
  clean = {path: x[:24] for path, x in networks.items()}
  few = {path: x[:27] for path, x in networks.items()}  # Three patches.
  recipe = dataclasses.replace(backdoor.RECIPE, steps=200)
  found = backdoor.suspect(
    MODEL, digits, {'clean': clean, 'few': few}, count=72, level=0.1, recipe=recipe
  )
  assert found.auroc['low'] > 0.85 and found.accuracy > 0.85
  assert found.false_positives['low'] < 0.1 < found.false_positives['high']
  assert found.rates['clean']['low'] < found.false_positives['high']
  more = 27 * found.rates['few']['value'] - 24 * found.rates['clean']['value']
  assert more >= 2, found.rates
  with pytest.raises(ValueError, match='40 networks; a false positive rate of 0.01 needs 396'):
    backdoor.suspect(MODEL, digits, {}, count=40)
  with pytest.raises(ValueError, match='classifiers of images'):
    backdoor.suspect(wsjax.siren((2, 8, 1)), digits, {})
