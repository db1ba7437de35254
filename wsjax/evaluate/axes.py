"""Optional axes of an evaluation: corruption, attack, changed weights, teams.

They cost more than the rest and answer other questions, so each is measured
only where it is asked for, on a part of the networks and items of an arm.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.progress

from wsjax import typing
from wsjax.evaluate import (
  adversarial,
  axis_words,
  corruptions,
  ensembles,
  predictions,
  robustness,
  statistics,
  weight_robustness,
)
from wsjax.evaluate import arms as arms_lib
from wsjax.evaluate import context as context_lib

NAMES = tuple(axis_words.AXES)
# Axis -> most networks and most test items of each arm. An arm of small
# networks then takes a second or two.
LIMITS = {
  'robustness': (64, 256),
  'adversarial': (32, 128),
  'weights': (64, 512),
  'ensembles': (128, 1024),
}
_OF_IMAGES = ('robustness', 'adversarial')


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
  """N networks of an arm: path -> [N, ...], and the seed of each, [N]."""

  params: typing.StackedParams
  groups: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Setting:
  """The n items of an axis, and a resampler of as many."""

  context: context_lib.Context
  x: np.ndarray
  y: np.ndarray
  resampler: statistics.Resampler


def check(
  names: Sequence[str], limits: Mapping[str, tuple[int, int]] | None = None
) -> None:
  """Checks what `extend` is asked for, before the work.

  Args:
    names: axes.
    limits: axis -> most networks and items.

  Raises:
    ValueError: for an unknown axis, one named twice, or a limit below 1.
  """
  limits = limits or {}
  if unknown := sorted({*names, *limits} - set(NAMES)):
    raise ValueError(
      f'Unknown axis {unknown[0]!r}; allowed: {", ".join(NAMES)}.'
    )
  if len(set(names)) != len(names):
    raise ValueError(f'Axes must differ from each other; got {tuple(names)}.')
  for name, limit in limits.items():
    if len(limit) != 2 or min(limit) < 1:
      raise ValueError(
        f'The limit of {name} must be numbers of networks and items, at least '
        f'1; got {limit}.'
      )


def extend(
  result: Mapping[str, Any],
  arms: Sequence[arms_lib.Arm],
  context: context_lib.Context,
  resampler: statistics.Resampler,
  names: Sequence[str],
  *,
  limits: Mapping[str, tuple[int, int]] | None = None,
  progress: bool = False,
) -> dict[str, Any]:
  """Adds axes to an evaluation.

  Args:
    result: of `evaluator.evaluate`, one entry of 'arms' for each arm.
    arms: what was evaluated, the training networks first.
    context: the zoo and the test set.
    resampler: gives the number of resamples and the seed.
    names: axes to measure, from `NAMES`.
    limits: axis -> most networks and most items of each arm, evenly spaced;
      `LIMITS` for those that are not given.
    progress: whether to show bars.

  Returns:
    The result with more metrics in every arm and their words in 'metrics'; in
    'robustness' and 'adversarial', arm -> curves for figures.

  Raises:
    ValueError: for an unknown axis, one named twice, or a limit below 1.
  """
  check(names, limits)
  limits = {**LIMITS, **(limits or {})}
  result = {**result, 'metrics': dict(result['metrics'])}
  for name in names:
    nets, num_items = limits[name]
    items = arms_lib.evenly(len(context.test_y), num_items)
    setting = _Setting(
      context,
      np.asarray(context.test_x)[items],
      np.asarray(context.test_y)[items],
      dataclasses.replace(resampler, num_items=len(items)),
    )
    reason = _no_images(setting.x) if name in _OF_IMAGES else ''
    if reason:
      found = [(_not_run(name, reason), None)] * len(arms)
    else:
      bar = rich.progress.track(arms, name, disable=not progress)
      found = list(_AXES[name]((_sample(arm, nets) for arm in bar), setting))
    result['arms'] = [
      {**row, 'metrics': row['metrics'] | metrics}
      for row, (metrics, _) in zip(result['arms'], found, strict=True)
    ]
    result['metrics'] |= axis_words.AXES[name]
    curves = {
      arm.name: curve
      for arm, (_, curve) in zip(arms, found, strict=True)
      if curve is not None
    }
    if curves:
      result[name] = curves
  return result


# What an axis gives for each sample: entries of the report, and a curve.
_Found = Iterator[tuple[dict[str, Any], dict[str, Any] | None]]


def _robustness(samples: Iterable[_Sample], setting: _Setting) -> _Found:
  """Errors on corrupted items, over those of the first sample: the zoo."""
  suite = robustness.make_suite(
    setting.x,
    setting.y,
    num_items=len(setting.y),
    seed=setting.context.seed,
  )
  reference = None
  for sample in samples:
    found = robustness.errors(
      setting.context.architecture, sample.params, suite
    )
    reference = reference or found
    yield (
      robustness.metrics(
        found, reference, suite.kinds, sample.groups, setting.resampler
      ),
      robustness.curve(found, suite.kinds),
    )


def _adversarial(samples: Iterable[_Sample], setting: _Setting) -> _Found:
  """Accuracy under attack."""
  for sample in samples:
    attacks = {
      norm: adversarial.attack(
        setting.context.architecture,
        sample.params,
        setting.x,
        setting.y,
        norm=norm,
        epsilons=radii,
        seed=setting.context.seed,
      )
      for norm, radii in adversarial.EPSILONS.items()
    }
    yield (
      adversarial.metrics(attacks, sample.groups, setting.resampler),
      {
        norm: {
          'epsilon': [0.0, *adversarial.EPSILONS[norm]],
          **adversarial.curve(found),
        }
        for norm, found in attacks.items()
      },
    )


def _weights(samples: Iterable[_Sample], setting: _Setting) -> _Found:
  """Noise, rounding and pruning of canonical forms."""
  context = setting.context
  items = context.items
  if len(setting.y) < len(context.test_y):
    items = predictions.make_items(setting.x, setting.y)
  for sample in samples:
    # What is not finite has no canonical form.
    usable = arms_lib.usable(sample.params)
    if not usable.any():
      yield _not_run('weights', 'no network has finite weights'), None
      continue
    changes = weight_robustness.change(
      context.architecture,
      context.align(arms_lib.take(sample.params, usable)),
      items,
      setting.y,
      seed=context.seed,
    )
    yield (
      weight_robustness.metrics(
        changes, sample.groups[usable], setting.resampler
      ),
      None,
    )


def _ensembles(samples: Iterable[_Sample], setting: _Setting) -> _Found:
  """Mean predictions."""
  for sample in samples:
    log_p = ensembles.log_probabilities(
      setting.context.architecture, sample.params, setting.x
    )
    yield (
      ensembles.metrics(
        log_p,
        setting.y,
        sample.groups,
        setting.resampler,
        seed=setting.context.seed,
      ),
      None,
    )


_AXES = {
  'robustness': _robustness,
  'adversarial': _adversarial,
  'weights': _weights,
  'ensembles': _ensembles,
}


def _sample(arm: arms_lib.Arm, limit: int) -> _Sample:
  """At most `limit` networks of an arm, of all its seeds alike."""
  places = arms_lib.evenly(arm.num_nets, limit)
  return _Sample(arms_lib.take(arm.params, places), arm.groups[places])


def _not_run(name: str, reason: str) -> dict[str, Any]:
  """Entries of an axis that say why they have no value."""
  return {key: statistics.not_run(reason) for key in axis_words.AXES[name]}


def _no_images(x: np.ndarray) -> str:
  """Why items cannot be corrupted or attacked; empty if they can."""
  try:
    corruptions.as_images(x)
  except ValueError as error:
    return str(error)
  return ''
