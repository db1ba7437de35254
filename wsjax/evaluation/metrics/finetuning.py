"""Fine-tuning: how soon does further training make a network as accurate as the zoo?

All are trained on by the recipe of the zoo for several numbers of steps, with the same batches for
each method, from canonical forms: a training step depends on the scale of neurons, which the
function does not determine.
"""

import numpy as np

from wsjax.evaluation import predictions, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.reference import Reference

LIMIT = (32, 1024)
# Numbers of steps that are tried, and the one whose accuracy is shown.
LADDER = (0, 5, 10, 20, 40, 80, 160)
SHOWN = 20
GROUP = 'Fine-tuning'


@once
def right(method: Sample) -> np.ndarray:
  """[L, N, n] bool, whether finite networks are right after each number of steps of `LADDER`."""
  reference, finite = method.reference, method.finite
  if reference.finetune is None:
    raise NotRun('there is no training for these networks')
  labels = []
  for steps in LADDER:
    tuned = reference.finetune(finite.canonical, steps=steps, seed=reference.seed)
    found = predictions.predict(reference.architecture, tuned, finite.device_items)
    labels.append(found.labels)
  return np.stack(labels) == finite.y


@once
def steps(method: Sample) -> np.ndarray:
  """[N] fewest steps after which each network has the median accuracy of the zoo."""
  target = float(np.median(np.mean(right(method.zoo)[0], axis=1)))
  return steps_to(right(method), target)


def steps_to(right: np.ndarray, target: float) -> np.ndarray:
  """[N] fewest steps of `LADDER` that reach an accuracy, of `right` [L, N, n]; or infinity."""
  there = np.mean(right, axis=2) >= target
  first = np.asarray(LADDER, np.float64)[np.argmax(there, axis=0)]
  return np.where(there.any(axis=0), first, np.inf)


@metric(
  'steps to the accuracy of the zoo', '.0f', better='lower', heading='steps to zoo',
  doc='Lower median of the further training steps after which a network has the median accuracy of '
  f'the zoo, of {", ".join(map(str, LADDER))}.',
)  # fmt: skip
def finetune_steps(method: Sample, reference: Reference) -> Stat:
  """Lower median of the steps to the accuracy of the zoo."""
  return _median(steps(method), method.finite.groups, method.resampler)


@metric(
  'as accurate as the zoo after further training', '.0%', better='higher', heading='reach zoo',
  doc=f'Networks that have the median accuracy of the zoo within {LADDER[-1]} steps.',
)  # fmt: skip
def finetune_reached(method: Sample, reference: Reference) -> Stat:
  """Share of networks that reach the accuracy of the zoo."""
  return statistics.rate(np.isfinite(steps(method)))


@metric(
  f'accuracy after {SHOWN} steps', '.1%', better='higher', heading=f'{SHOWN} steps: accuracy',
  doc=f'Mean test accuracy after {SHOWN} further training steps.',
)  # fmt: skip
def finetune_accuracy(method: Sample, reference: Reference) -> Stat:
  """Mean test accuracy after `SHOWN` steps."""
  return method.finite.mean(right(method)[LADDER.index(SHOWN)])


def _median(steps: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler) -> Stat:
  """The lower median, which is one of the steps, for some are infinite."""
  order = np.argsort(steps, kind='stable')
  if not np.isfinite(value := steps[order[(len(steps) - 1) // 2]]):
    raise NotRun(f'more than half are not as accurate as the zoo in {LADDER[-1]} steps')
  weights = np.cumsum(resampler.networks(groups)[:, order], axis=1)
  # Sums of shares in float32 reach a half up to rounding.
  resamples = steps[order[np.argmax(weights >= 0.5 - 1e-6, axis=1)]]
  method = statistics.method_name('bootstrap', groups)
  within = np.minimum(resamples, 2 * LADDER[-1])
  entry = statistics.stat(value, within, n=len(steps), method=method)
  if entry['high'] is not None and entry['high'] > LADDER[-1]:
    note = f'the interval has no upper end within {LADDER[-1]} steps'
    entry |= {'low': None, 'high': None, 'method': 'none', 'note': note}
  return entry


def curve(method: Sample) -> dict[str, list[float]]:
  """Mean accuracy by number of steps, for a figure."""
  found = np.mean(right(method), axis=(1, 2))
  return {'steps': list(map(float, LADDER)), 'accuracy': found.tolist()}
