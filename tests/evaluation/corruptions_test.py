"""Corruption errors against loops, and against networks of known faults."""

import numpy as np
import pytest

from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import image_corruptions, methods
from wsjax.evaluation.metrics import corruptions

KINDS = image_corruptions.KINDS


def _errors(seed, nets=6, items=50, base=0.1):
  """Errors that grow with severity, more for later kinds."""
  rng = np.random.default_rng(seed)
  kind = np.arange(len(KINDS))[:, None] + 1
  rate = np.minimum(base * (1 + kind * np.arange(1, 6) / 8), 0.95)
  return corruptions.Errors(
    rng.random((nets, items)) < base,
    rng.random((nets, *rate.shape, items)) < rate[None, :, :, None],
  )


def _slow_mce(found, reference, relative):
  """The formula as it is printed, for each network."""
  values = []
  for net in range(len(found.clean)):
    ratios = []
    for kind in range(len(KINDS)):
      above = below = 0.0
      for severity in range(5):
        above += found.corrupted[net, kind, severity].mean()
        below += reference.corrupted[:, kind, severity].mean()
        if relative:
          above -= found.clean[net].mean()
          below -= reference.clean.mean()
      ratios.append(above / below)
    values.append(np.mean(ratios))
  return values


@pytest.mark.parametrize('relative', [False, True])
def test_mce_is_the_formula(relative):
  found, reference = _errors(0, base=0.2), _errors(1, nets=9)
  table = corruptions.corruption_error(found, reference, relative=relative)
  np.testing.assert_allclose(table.mean(axis=1), _slow_mce(found, reference, relative))
  own = corruptions.corruption_error(reference, reference, relative=relative)
  assert own.mean() == pytest.approx(1)


def _measured(found, reference, groups):
  zoo = given.Given(np.zeros(6), 50, known=[(corruptions.errors, reference)])
  sample = given.Given(groups, 50, 400, known=[(corruptions.errors, found)], zoo=zoo)
  return given.measured('corruptions', sample)


def test_drop_is_the_share_of_accuracy_lost():
  found = _errors(2)
  values = _measured(found, found, np.repeat([0, 1], 3))
  right = 1 - found.corrupted[:, [3]].mean()
  assert values['drop_blur']['value'] == pytest.approx(1 - right / (1 - found.clean.mean()))
  for stat in values.values():
    assert stat['low'] < stat['value'] < stat['high']
    assert stat['n'] == 6 and stat['method'] == 'two-way-seeds'


def test_a_reference_that_loses_nothing_gives_no_ratio():
  found = _errors(3)
  spotless = corruptions.Errors(np.zeros_like(found.clean), np.zeros_like(found.corrupted))
  values = _measured(found, spotless, np.zeros(6))
  assert values['mce']['value'] is None and 'reference' in str(values['mce'])
  dead = corruptions.Errors(np.ones_like(found.clean), np.ones_like(found.corrupted))
  values = _measured(dead, found, np.zeros(6))
  assert values['drop_blur']['value'] is None
  assert values['mce']['value'] > 1


def _sample(reference, params):
  return methods.Sample(methods.Method('some', 'control', params), reference, (48, 100))


@pytest.mark.slow
def test_errors_are_those_of_the_forward_pass(zoo_reference):
  sample = _sample(zoo_reference, networks.take(zoo_reference.train, np.arange(3)))
  found, x, y = corruptions.errors(sample), sample.x, sample.y
  shifted = image_corruptions.corrupt(x, kinds=('shift',))[0, 4]
  net = {path: value[2] for path, value in sample.params.items()}
  for inputs, ours in ((x, found.clean[2]), (shifted, found.corrupted[2, KINDS.index('shift'), 4])):
    logits = zoo_reference.architecture.apply(net, inputs)
    np.testing.assert_array_equal(np.argmax(logits, axis=-1) != y, ours)


def test_real_networks_get_worse_with_severity(zoo_reference):
  curves = corruptions.curve(_sample(zoo_reference, zoo_reference.train))
  for family, values in curves.items():
    assert values[0] < 0.1 < values[5], family
    # The mildest may be within the noise of 100 items.
    assert values[1] < values[3] < values[5], family
  broken = {path: np.full_like(value[:2], np.nan) for path, value in zoo_reference.train.items()}
  dead = corruptions.errors(_sample(zoo_reference, broken))
  assert dead.clean.all() and dead.corrupted.all()
