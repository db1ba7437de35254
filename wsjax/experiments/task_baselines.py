"""What solves unseen tasks without a generator: lines, retrieval, training.

Each baseline knows what the generator knows: training tasks, their networks, and training images.
Choices are made on tasks and images of validation.
"""

import dataclasses
import time

import jax
import ml_collections
import numpy as np
import scipy.special

from wsjax.experiments import task_lines, task_outputs
from wsjax.models import mlp
from wsjax.zoo import train as train_lib


def panel(config: ml_collections.ConfigDict, tasks: task_outputs.Tasks) -> list[task_outputs.Arm]:
  """Every baseline, on the test tasks."""
  return [
    *task_lines.lines(config, tasks),
    *retrieval(tasks),
    *many_classes(config, tasks),
    *fresh(config, tasks),
  ]


def retrieval(tasks: task_outputs.Tasks) -> list[task_outputs.Arm]:
  """Networks of the training tasks that are most alike, as they are."""
  codes, seen = tasks.codes['test'], tasks.codes['train']
  y = tasks.dataset.test_y
  margin = task_outputs.margins(tasks.architecture, tasks.params['train'], tasks.dataset.test_x)
  distance = (codes[:, None] != seen[None]).sum(-1)
  near = distance == distance.min(1, keepdims=True)
  alone = [
    task_outputs.right(margin[row], code[None], y).mean()
    for row, code in zip(near, codes, strict=True)
  ]
  # Of several neighbours that differ in one class each, most are right.
  votes = np.stack([np.sign(margin[row]).mean(0) for row in near])
  share = (distance.min(1) == 1).mean()
  arms = [
    task_outputs.Arm(
      f'nearest code ({share:.0%} at distance 1), mean over ties', 'baseline', np.array(alone)[None]
    ),
    task_outputs.Arm(
      'vote of all nearest codes', 'baseline', task_outputs.right(votes, codes, y)[None]
    ),
  ]
  if (is_complement := distance == codes.shape[1]).any(1).all():
    swapped = -margin[is_complement.argmax(1)]
    accuracy = task_outputs.right(swapped, codes, y)[None]
    arms.append(task_outputs.Arm('complement, outputs swapped', 'baseline', accuracy))
  return arms


def many_classes(
  config: ml_collections.ConfigDict, tasks: task_outputs.Tasks
) -> list[task_outputs.Arm]:
  """One network of all classes: what it says of them, and its hidden units."""
  num_classes = tasks.codes['test'].shape[1]
  architecture = mlp.MLP(
    **{
      **tasks.architecture.config,
      'widths': (*tasks.architecture.config['widths'][:-1], num_classes),
    }
  )
  recipe = _recipe(config, steps=config.tasks.steps_of_classes)
  dataset = dataclasses.replace(tasks.dataset, codes=None)
  seeds = np.arange(len(config.train.seeds))
  trained = train_lib.train_networks(architecture, dataset, recipe, seeds, seed=config.seed + 1)
  run = jax.jit(jax.vmap(architecture.apply, in_axes=(0, None)))
  logits = np.asarray(run(trained.params, dataset.test_x))
  y, codes = dataset.test_y, tasks.codes['test']
  summed = [task_outputs.right(_log_odds(each, codes), codes, y) for each in logits]
  heads = [
    task_lines.least_squares(tasks, {path: x[seed] for path, x in trained.params.items()}, codes)
    for seed in seeds
  ]
  return [
    task_outputs.Arm(
      f'one network of {num_classes} classes, probabilities summed', 'baseline', np.stack(summed)
    ),
    task_outputs.Arm(
      f'least-squares head; backbone of {num_classes} classes',
      'baseline',
      np.stack([task_outputs.accuracy(tasks, each, codes) for each in heads]),
    ),
  ]


def fresh(config: ml_collections.ConfigDict, tasks: task_outputs.Tasks) -> list[task_outputs.Arm]:
  """Networks trained anew on each task, for some steps."""
  steps = tuple(config.tasks.fresh_steps)
  recipe = _recipe(config, steps=steps[-1], snapshots=steps[:-1])
  dataset = dataclasses.replace(tasks.dataset, codes=tasks.codes['test'])
  indices = np.arange(len(dataset.codes))
  accuracy, seconds = [], []
  for seed in range(len(config.train.seeds)):
    start = time.perf_counter()
    trained = train_lib.train_networks(
      tasks.architecture, dataset, recipe, indices, seed=config.seed + 1 + seed
    )
    seconds.append(time.perf_counter() - start)
    accuracy.append(
      [
        task_outputs.accuracy(tasks, params, dataset.codes)
        for params in (*trained.snapshots.values(), trained.params)
      ]
    )
  # The first call compiles; with one seed that is part of the time.
  per_step = min(seconds) / len(indices) / steps[-1]
  return [
    task_outputs.Arm(f'trained anew, {number} steps', 'training', np.stack(each), number * per_step)
    for number, each in zip(steps, zip(*accuracy, strict=True), strict=True)
  ]


def _log_odds(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
  """[n, N] log odds that the class is of each subset, from logits [N, C]."""
  inside, outside = (
    np.stack([scipy.special.logsumexp(logits[:, code == bit], axis=1) for code in codes])
    for bit in (1, 0)
  )
  return inside - outside


def _recipe(config: ml_collections.ConfigDict, **changes) -> train_lib.Recipe:
  """The recipe of the zoo, of another length."""
  return train_lib.Recipe(**{**config.zoo.recipe.to_dict(), **changes})
