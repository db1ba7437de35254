"""Corruption errors against loops, and against networks of known faults."""

import numpy as np
import pytest

from wsjax.evaluation import methods, statistics
from wsjax.evaluation.metrics import corruptions, robustness

KINDS = corruptions.KINDS


def _errors(seed, nets=6, items=50, base=0.1):
  """Errors that grow with severity, more for later kinds."""
  rng = np.random.default_rng(seed)
  kind = np.arange(len(KINDS))[:, None] + 1
  rate = np.minimum(base * (1 + kind * np.arange(1, 6) / 8), 0.95)
  return robustness.Errors(
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
  table = robustness.mce(found, reference, relative=relative)
  np.testing.assert_allclose(table.mean(axis=1), _slow_mce(found, reference, relative))
  own = robustness.mce(reference, reference, relative=relative)
  assert own.mean() == pytest.approx(1)


def test_drop_is_the_share_of_accuracy_lost():
  found = _errors(2)
  values = robustness.metrics(
    found, found, KINDS, np.repeat([0, 1], 3),
    statistics.Resampler(num_items=50, num_bootstrap=400),
  )  # fmt: skip
  right = 1 - found.corrupted[:, [3]].mean()
  assert values['drop_blur']['value'] == pytest.approx(1 - right / (1 - found.clean.mean()))
  for stat in values.values():
    assert stat['low'] < stat['value'] < stat['high']
    assert stat['n'] == 6 and stat['method'] == 'two-way-seeds'


def test_a_reference_that_loses_nothing_gives_no_ratio():
  found = _errors(3)
  spotless = robustness.Errors(np.zeros_like(found.clean), np.zeros_like(found.corrupted))
  values = robustness.metrics(found, spotless, KINDS, np.zeros(6), statistics.Resampler(50, 20))
  assert values['mce']['value'] is None and 'reference' in str(values['mce'])
  dead = robustness.Errors(np.ones_like(found.clean), np.ones_like(found.corrupted))
  values = robustness.metrics(dead, found, KINDS, np.zeros(6), statistics.Resampler(50, 20))
  assert values['drop_blur']['value'] is None
  assert values['mce']['value'] > 1


@pytest.fixture(scope='module')
def suite(zoo_context):
  return robustness.make_suite(zoo_context.test_x, zoo_context.test_y, num_items=100)


def test_errors_are_those_of_the_forward_pass(zoo_context, suite):
  nets = methods.take(zoo_context.train, np.arange(3))
  found = robustness.errors(zoo_context.architecture, nets, suite)
  chosen = methods.evenly(360, 100)
  x = zoo_context.test_x[chosen]
  shifted = corruptions.corrupt(x, kinds=('shift',))[0, 4]
  net = {path: value[2] for path, value in nets.items()}
  for inputs, ours in ((x, found.clean[2]), (shifted, found.corrupted[2, KINDS.index('shift'), 4])):
    logits = zoo_context.architecture.apply(net, inputs)
    wrong = np.argmax(logits, axis=-1) != zoo_context.test_y[chosen]
    np.testing.assert_array_equal(wrong, ours)


def test_real_networks_get_worse_with_severity(zoo_context, suite):
  found = robustness.errors(zoo_context.architecture, zoo_context.train, suite)
  curves = robustness.curve(found, KINDS)
  for family, values in curves.items():
    assert values[0] < 0.1 < values[5], family
    # The mildest may be within the noise of 100 items.
    assert values[1] < values[3] < values[5], family
  broken = {path: np.full_like(value[:2], np.nan) for path, value in zoo_context.train.items()}
  dead = robustness.errors(zoo_context.architecture, broken, suite)
  assert dead.clean.all() and dead.corrupted.all()
