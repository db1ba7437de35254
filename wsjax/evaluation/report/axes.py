"""Optional axes of an evaluation, from corrupted items to further training.

They cost more than the rest and answer other questions, so each is measured only where it is asked
for, on a part of the networks and items of an arm.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.progress

from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import corruptions
from wsjax.evaluation.report import axis_measures, axis_words

NAMES = tuple(axis_words.AXES)
# Axis -> most networks and most test items of each arm. An arm of small networks then takes a
# second or two.
LIMITS = {
  'robustness': (64, 256),
  'adversarial': (32, 128),
  'calibration': (64, 1024),
  'weights': (64, 512),
  'barriers': (32, 512),
  'finetuning': (32, 1024),
  'ensembles': (128, 1024),
}
_OF_IMAGES = ('robustness', 'adversarial')


def check(names: Sequence[str], limits: Mapping[str, tuple[int, int]] | None = None) -> None:
  """Checks what `extend` is asked for, before the work.

  Args:
    names: axes.
    limits: axis -> most networks and items.

  Raises:
    ValueError: for an unknown axis, one named twice, or a limit below 1.
  """
  limits = limits or {}
  if unknown := sorted({*names, *limits} - set(NAMES)):
    raise ValueError(f'Unknown axis {unknown[0]!r}; allowed: {", ".join(NAMES)}.')
  if len(set(names)) != len(names):
    raise ValueError(f'Axes must differ from each other; got {tuple(names)}.')
  for name, limit in limits.items():
    if len(limit) != 2 or min(limit) < 1:
      raise ValueError(
        f'The limit of {name} must be numbers of networks and items, at least 1; got {limit}.'
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
    limits: axis -> most networks and most items of each arm, evenly spaced; `LIMITS` for those that
      are not given.
    progress: whether to show bars.

  Returns:
    The result with more metrics in every arm and their words in 'metrics'; in 'robustness',
    'adversarial' and 'finetuning', arm -> curves for figures.

  Raises:
    ValueError: for an unknown axis, one named twice, or a limit below 1.
  """
  check(names, limits)
  limits = {**LIMITS, **(limits or {})}
  result = {**result, 'metrics': dict(result['metrics'])}
  for name in names:
    nets, num_items = limits[name]
    items = arms_lib.evenly(len(context.test_y), num_items)
    setting = axis_measures.Setting(
      context,
      np.asarray(context.test_x)[items],
      np.asarray(context.test_y)[items],
      dataclasses.replace(resampler, num_items=len(items)),
    )
    reason = _no_images(setting.x) if name in _OF_IMAGES else ''
    if reason:
      found = [(axis_measures.not_run(name, reason), None)] * len(arms)
    else:
      bar = rich.progress.track(arms, name, disable=not progress)
      found = list(axis_measures.AXES[name]((_sample(arm, nets) for arm in bar), setting))
    result['arms'] = [
      {**row, 'metrics': row['metrics'] | metrics}
      for row, (metrics, _) in zip(result['arms'], found, strict=True)
    ]
    result['metrics'] |= axis_words.AXES[name]
    curves = {
      arm.name: curve for arm, (_, curve) in zip(arms, found, strict=True) if curve is not None
    }
    if curves:
      result[name] = curves
  return result


def _sample(arm: arms_lib.Arm, limit: int) -> axis_measures.Sample:
  """At most `limit` networks of an arm, of all its seeds alike."""
  places = arms_lib.evenly(arm.num_nets, limit)
  return axis_measures.Sample(arms_lib.take(arm.params, places), arm.groups[places], places)


def _no_images(x: np.ndarray) -> str:
  """Why items cannot be corrupted or attacked; empty if they can."""
  try:
    corruptions.as_images(x)
  except ValueError as error:
    return str(error)
  return ''
