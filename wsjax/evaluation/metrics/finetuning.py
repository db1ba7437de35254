"""Fine-tuning: how soon does further training make a network as good as others?

A network can be bad and yet a good start, or good and far from anything that training finds. All
are trained on by the recipe of the zoo for a ladder of numbers of steps; the batches of network i
are the same in every arm.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import population, predictions, statistics
from wsjax.models import model as model_lib

# Numbers of steps that are tried, and the one whose accuracy is shown.
LADDER = (0, 5, 10, 20, 40, 80, 160)
SHOWN = 20


def climb(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  items: predictions.Items,
  labels: np.ndarray,
  finetune: population.Finetune,
  *,
  seed: int,
) -> np.ndarray:
  """Trains N networks on and runs them.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    items: n test items.
    labels: [n] int classes of the items.
    finetune: the training, which starts anew for every number of steps.
    seed: of the batches, those of network i for all numbers of steps.

  Returns:
    [L, N, n] bool, what is right after each number of steps of `LADDER`.
  """
  return np.stack(
    [
      predictions.predict(architecture, finetune(params, steps=steps, seed=seed), items).labels
      == labels[None]
      for steps in LADDER
    ]
  )


def steps_to(right: np.ndarray, target: float) -> np.ndarray:
  """Steps after which each network is as accurate as asked for.

  Args:
    right: [L, N, n] from `climb`.
    target: accuracy.

  Returns:
    [N] the fewest steps of `LADDER` that are enough, infinite where none are.
  """
  there = np.mean(right, axis=2) >= target
  first = np.asarray(LADDER, np.float64)[np.argmax(there, axis=0)]
  return np.where(there.any(axis=0), first, np.inf)


def metrics(
  right: np.ndarray, target: float, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """How fast the networks of an arm learn.

  Args:
    right: [L, N, n] from `climb`.
    target: median accuracy of the zoo on the same items.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'finetune_steps', lower median of the steps to the target;
    'finetune_reached', share of networks that get there; 'finetune_accuracy' after `SHOWN` steps.
  """
  steps = steps_to(right, target)
  return {
    'finetune_steps': _median(steps, groups, resampler),
    'finetune_reached': statistics.rate(np.isfinite(steps)),
    'finetune_accuracy': statistics.two_way(right[LADDER.index(SHOWN)], groups, resampler),
  }


def _median(
  steps: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """The lower median, which is one of the steps, for some are infinite."""
  order = np.argsort(steps, kind='stable')
  if not np.isfinite(value := steps[order[(len(steps) - 1) // 2]]):
    return statistics.not_run(f'more than half are not as good as the zoo in {LADDER[-1]} steps')
  weights = np.cumsum(resampler.nets(groups)[:, order], axis=1)
  # Sums of shares in float32 reach a half up to rounding.
  resamples = steps[order[np.argmax(weights >= 0.5 - 1e-6, axis=1)]]
  method = statistics.net_method('bootstrap', groups)
  within = np.minimum(resamples, 2 * LADDER[-1])
  entry = statistics.stat(value, within, n=len(steps), method=method)
  if entry['high'] is not None and entry['high'] > LADDER[-1]:
    note = f'the interval has no upper end within {LADDER[-1]} steps'
    entry |= {'low': None, 'high': None, 'method': 'none', 'note': note}
  return entry


def curve(right: np.ndarray) -> dict[str, list[float]]:
  """Accuracy by number of steps, for a figure.

  Args:
    right: [L, N, n] from `climb`.

  Returns:
    'steps' and 'accuracy', the mean over networks.
  """
  return {'steps': list(map(float, LADDER)), 'accuracy': np.mean(right, axis=(1, 2)).tolist()}
