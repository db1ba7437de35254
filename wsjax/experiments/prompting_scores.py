"""What prompted updates are worth, beside what needs no model."""

import time
from typing import Any

import ml_collections
import numpy as np

from wsjax import typing
from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import control
from wsjax.experiments import prompting
from wsjax.experiments import prompting_metrics as metrics_lib
from wsjax.zoo import train as train_lib

_STEPS = 20  # Of training, timed to know what one takes.


def judge(
  config: ml_collections.ConfigDict, prepared: prompting.Prepared, answers: list[prompting.Answers]
) -> dict[str, Any]:
  """Scores of all training seeds beside what needs no model.

  Returns:
    'rows', 'control', 'novelty' and 'recipe', for the report.
  """
  how = {'num_bootstrap': config.evaluate.num_bootstrap, 'seed': config.seed}
  data, own = prepared.dataset, prepared.at('test', -1)
  train = prepared.at('train', -1)

  def table(params: typing.StackedParams) -> metrics_lib.Table:
    return metrics_lib.work(
      prepared.architecture, params, data.test_x, data.test_y
    ) | metrics_lib.places(params, own, train)

  tables = {name: [table(one.arms[name]) for one in answers] for name in answers[0].arms}
  seconds = float(np.median([one.seconds for one in answers]))
  others, steps = _others(config, prepared, seconds)
  tables |= {name: [table(params)] for name, params in others.items()}
  rows = [
    {'name': name, 'n': len(each[0]['loss']),
     'metrics': metrics_lib.scores(each, **how)}
    for name, each in tables.items()
  ]  # fmt: skip
  return {
    'rows': rows,
    'control': _control(config, prepared, answers),
    'novelty': _novelty(prepared, answers[0]),
    'recipe': _recipe(prepared),
    'cost': {'seconds': seconds / len(next(iter(own.values()))),
             'sgd_steps': steps},
  }  # fmt: skip


def _others(
  config: ml_collections.ConfigDict, prepared: prompting.Prepared, seconds: float
) -> tuple[dict[str, typing.StackedParams], int]:
  """Networks that need no model, and how many SGD steps a prompt costs."""
  start, own = prepared.at('test', 0), prepared.at('test', -1)
  num = len(next(iter(start.values())))
  runs = prepared.runs['train']
  losses = runs['loss']
  best = losses.argmin(1)  # Of every run.
  rows = np.arange(len(losses))
  bests = {path: x[rows, best] for path, x in runs['params'].items()}
  changes = metrics_lib.mean({path: bests[path] - x[:, 0] for path, x in runs['params'].items()})
  nearest = int(losses.min(1).argmin())

  def trained(steps: int) -> typing.StackedParams:
    return train_lib.finetune(
      prepared.architecture, prepared.dataset, start, prepared.recipe, steps=steps, seed=config.seed
    )

  trained(_STEPS)  # Compiles.
  begin = time.perf_counter()
  trained(_STEPS)
  per_step = (time.perf_counter() - begin) / _STEPS
  steps = max(1, round(seconds / per_step))
  return {
    'no update': start,
    'nearest training checkpoint by loss': {
      path: np.repeat(x[nearest : nearest + 1], num, 0) for path, x in bests.items()
    },
    'mean of the best checkpoints': metrics_lib.mean(bests, num),
    'mean change of training runs': {path: x + changes[path] for path, x in start.items()},
    f'SGD for as long, {steps} steps': trained(steps),
    'training run of its own': own,
  }, steps


def _control(
  config: ml_collections.ConfigDict, prepared: prompting.Prepared, answers: list[prompting.Answers]
) -> dict[str, Any]:
  """Requested against achieved loss, in nats and in their logarithm."""
  requested = np.concatenate([one.requested for one in answers])
  groups = np.repeat(np.arange(len(answers)), len(answers[0].requested))
  resampler = statistics.Resampler(num_bootstrap=config.evaluate.num_bootstrap, seed=config.seed)
  labels = prepared.losses
  found = control.nearest(requested, labels)
  data = prepared.dataset
  used = np.unique(found)
  flat = {
    path: x.reshape(-1, *x.shape[2:])[used] for path, x in prepared.runs['train']['params'].items()
  }
  # Only what retrieval hands out is measured; the rest it never compares.
  measured = np.full(len(labels), np.nan)
  measured[used] = metrics_lib.work(prepared.architecture, flat, data.test_x, data.test_y)['loss']
  made = {}
  for images in ('val', 'test'):
    achieved = np.concatenate([one.achieved[images] for one in answers])
    available = labels if images == 'val' else measured
    for unit, scale in (('nats', np.asarray), ('log', np.log)):
      made[f'{images} {unit}'] = control.compare(
        scale(requested), scale(achieved), scale(labels), scale(available), groups, resampler
      )
  first = answers[0]
  grid = np.unique(first.requested)
  made['curve'] = [
    {
      'requested': float(wanted),
      **{
        images: [float(one.achieved[images][one.requested == wanted].mean()) for one in answers]
        for images in ('val', 'test')
      },
    }
    for wanted in grid
  ]
  return made


def _novelty(prepared: prompting.Prepared, first: prompting.Answers) -> dict[str, float]:
  """Median distances to the nearest network, of the first training seed.

  Returns:
    'raw' and 'matched', to training runs, with units as they stand and over their orders; 'raw_zoo'
    and 'matched_zoo', the same of training networks, each without itself; 'matched_self', from what
    one start gave to what the others gave: near 0 where all starts give one network.
  """
  train = prepared.at('train', -1)
  # The second arm: one prompt for the least loss that was trained for.
  made, own = list(first.arms.values())[1], prepared.at('test', -1)
  nearest, _ = prepared.ends.nearest(made)
  return {
    'raw': float(np.median(metrics_lib.places(made, own, train)['nearest'])),
    'raw_zoo': float(np.median(metrics_lib.apart(train))),
    'matched': float(np.nanmedian(nearest)),
    'matched_zoo': prepared.apart,
    'matched_self': prepared.spacing(made),
    'n': len(next(iter(made.values()))),
  }


def _recipe(prepared: prompting.Prepared) -> list[dict[str, float]]:
  """Mean test loss and accuracy of the test runs over their steps."""
  data = prepared.dataset
  rows = []
  for place, step in enumerate(prepared.steps):
    found = metrics_lib.work(
      prepared.architecture, prepared.at('test', place), data.test_x, data.test_y
    )
    rows.append({'step': step, **{k: float(x.mean()) for k, x in found.items()}})
  return rows
