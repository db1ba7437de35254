"""What each optional axis measures, arm by arm."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation import predictions, statistics
from wsjax.evaluation.metrics import (
  adversarial,
  ensembles,
  finetuning,
  pgd,
  recalibration,
  robustness,
  transfer,
  weight_robustness,
)
from wsjax.evaluation.metrics import barriers as barriers_lib
from wsjax.evaluation.report import axis_words


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """N networks of an arm.

  Attributes:
    params: path -> [N, ...].
    groups: [N] the seed of each.
    places: [N] which of its arm they are.
  """

  params: typing.StackedParams
  groups: np.ndarray
  places: np.ndarray

  def usable(self) -> 'Sample | None':
    """Those with finite weights; None if there are none."""
    return self.keep(arms_lib.usable(self.params))

  def keep(self, chosen: np.ndarray) -> 'Sample | None':
    """Those where [N] is True; None if there are none."""
    if not chosen.any():
      return None
    params = arms_lib.take(self.params, chosen)
    return Sample(params, self.groups[chosen], self.places[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
  """The n items of an axis, and a resampler of as many."""

  context: context_lib.Context
  x: np.ndarray
  y: np.ndarray
  resampler: statistics.Resampler

  @functools.cached_property
  def items(self) -> predictions.Items:
    """They on the device, where the whole test set may be already."""
    if len(self.y) == len(self.context.test_y):
      return self.context.items
    return predictions.make_items(self.x, self.y)


def not_run(name: str, reason: str) -> dict[str, Any]:
  """Entries of an axis that say why they have no value."""
  return {key: statistics.not_run(reason) for key in axis_words.AXES[name]}


# What an axis gives for each sample: entries of the report, and a curve.
Found = Iterator[tuple[dict[str, Any], dict[str, Any] | None]]


_NOT_FINITE = 'no network has finite weights'
_OWN_NEIGHBOUR = 'the nearest training network is the network itself'
_SURROGATES = 'the points were made on all of these networks'
_NO_TRAINING = 'there is nothing here to train these networks on'


def _robustness(samples: Iterable[Sample], setting: Setting) -> Found:
  """Errors on corrupted items, over those of the first sample: the zoo."""
  suite = robustness.make_suite(
    setting.x, setting.y, num_items=len(setting.y), seed=setting.context.seed
  )
  reference = None
  for sample in samples:
    found = robustness.errors(setting.context.architecture, sample.params, suite)
    reference = reference or found
    yield (
      robustness.metrics(found, reference, suite.kinds, sample.groups, setting.resampler),
      robustness.curve(found, suite.kinds),
    )


def _adversarial(samples: Iterable[Sample], setting: Setting) -> Found:
  """Accuracy under attack, also under attacks on networks of the zoo."""
  context = setting.context
  some = arms_lib.evenly(context.num_train, transfer.SURROGATES)
  surrogates = arms_lib.take(context.train, some)
  threats = {norm: pgd.Threat(norm, radii) for norm, radii in adversarial.EPSILONS.items()}

  def against(make: Callable[..., Any], nets: typing.StackedParams, norm: str, **options) -> Any:
    return make(
      context.architecture, nets, setting.x, setting.y, threats[norm], seed=context.seed, **options
    )

  others = {norm: against(transfer.craft, surrogates, norm) for norm in threats}
  for number, sample in enumerate(samples):
    if number == 0:  # The zoo, of which the points must be those of others.
      sample = sample.keep(~np.isin(sample.places, some))
    if sample is None:
      yield not_run('adversarial', _SURROGATES), None
      continue
    attacks = {
      norm: against(adversarial.attack, sample.params, norm, others=others[norm])
      for norm in threats
    }
    yield (
      adversarial.metrics(attacks, sample.groups, setting.resampler),
      {
        norm: {'epsilon': [0.0, *threats[norm].epsilons], **adversarial.curve(found)}
        for norm, found in attacks.items()
      },
    )


def _calibration(samples: Iterable[Sample], setting: Setting) -> Found:
  """Probabilities before and after a temperature."""
  for sample in samples:
    # What is not finite says nothing, and so nothing that could be mended.
    some = sample.usable()
    if some is None:
      yield not_run('calibration', _NOT_FINITE), None
      continue
    log_p = ensembles.log_probabilities(setting.context.architecture, some.params, setting.x)
    yield (recalibration.metrics(log_p, setting.y, some.groups, setting.resampler), None)


def _weights(samples: Iterable[Sample], setting: Setting) -> Found:
  """Noise, rounding and pruning of canonical forms."""
  context = setting.context
  for sample in samples:
    some = _canonical(sample, context)
    if some is None:
      yield not_run('weights', _NOT_FINITE), None
      continue
    changes = weight_robustness.change(
      context.architecture, some.params, setting.items, setting.y, seed=context.seed
    )
    yield (weight_robustness.metrics(changes, some.groups, setting.resampler), None)


def _barriers(samples: Iterable[Sample], setting: Setting) -> Found:
  """Loss on lines to training networks, of which the zoo is made itself."""
  context = setting.context
  for number, sample in enumerate(samples):
    some = sample.usable()
    if number == 0 or some is None:
      reason = _NOT_FINITE if number else _OWN_NEIGHBOUR
      yield not_run('barriers', reason), None
      continue
    found = barriers_lib.barriers(some.params, setting.items, some.groups, context)
    yield barriers_lib.metrics(found, some.groups, setting.resampler), None


def _finetuning(samples: Iterable[Sample], setting: Setting) -> Found:
  """Further training of canonical forms; the first sample, the zoo, is the aim.

  A step of training depends on the scale of units, which says nothing.
  """
  context = setting.context
  target = None
  for sample in samples:
    some = _canonical(sample, context)
    if some is None or context.finetune is None:
      reason = _NOT_FINITE if some is None else _NO_TRAINING
      yield not_run('finetuning', reason), None
      continue
    right = finetuning.climb(
      context.architecture,
      some.params,
      setting.items,
      setting.y,
      context.finetune,
      seed=context.seed,
    )
    if target is None:
      target = float(np.median(np.mean(right[0], axis=1)))
    yield (
      finetuning.metrics(right, target, some.groups, setting.resampler),
      finetuning.curve(right),
    )


def _ensembles(samples: Iterable[Sample], setting: Setting) -> Found:
  """Mean predictions."""
  for sample in samples:
    log_p = ensembles.log_probabilities(setting.context.architecture, sample.params, setting.x)
    yield (
      ensembles.metrics(
        log_p, setting.y, sample.groups, setting.resampler, seed=setting.context.seed
      ),
      None,
    )


AXES = {
  'robustness': _robustness,
  'adversarial': _adversarial,
  'calibration': _calibration,
  'weights': _weights,
  'barriers': _barriers,
  'finetuning': _finetuning,
  'ensembles': _ensembles,
}


def _canonical(sample: Sample, context: context_lib.Context) -> Sample | None:
  """Canonical forms; what is not finite has none. None if nothing is left."""
  some = sample.usable()
  if some is None:
    return None
  return dataclasses.replace(some, params=context.align(some.params))
