"""Networks for tasks that no training network had: data, training, scores.

A task is a subset of the classes against the others. What a generator is told is the code of the
task alone; every class, and every training image, it knows from other tasks.
"""

import functools
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.experiments import base, task_baselines, task_metrics, task_outputs
from wsjax.generators import task_network
from wsjax.generators.parts import set_encoder
from wsjax.models import model as model_lib
from wsjax.train import loop, subset_tasks
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import store


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> task_outputs.Tasks:
  """Codes and networks of every split, and the images.

  With `config.tasks.split` 'leaky' the second task of every test pair goes to the training split,
  as a control: then a complement has been seen.

  Raises:
    ValueError: if the networks are no MLPs of binary tasks, a split has none, or the complement of
      a test task is for training but in 'leaky'.
  """
  leaky = config.tasks.split == 'leaky'
  if not leaky and config.tasks.split != 'pair':
    raise ValueError(f"tasks.split is {config.tasks.split!r}; allowed: 'pair', 'leaky'.")
  architecture = zoo.architecture
  if architecture.name != 'mlp':
    raise ValueError(f'Unseen tasks are for MLPs; those at {zoo.path} are {architecture.name}.')
  rows = {split: zoo.select(split=split) for split in base.SPLITS}
  if leaky:
    seen, kept = rows['test'][1::2], rows['test'][::2]
    rows |= {'train': np.sort(np.append(rows['train'], seen)), 'test': kept}
  for split, chosen in rows.items():
    if not len(chosen):
      raise ValueError(f'The zoo at {zoo.path} has no networks of {split}.')
  condition = config_lib.build('generators.conditions', config.tasks.condition)
  records = {split: [zoo.records[row] for row in chosen] for split, chosen in rows.items()}
  codes = {split: task_outputs.codes(records[split]) for split in rows}
  if (leaks := subsets.num_leaks(codes['train'], codes['test'])) and not leaky:
    raise ValueError(
      f'{leaks} of {len(codes["test"])} test tasks have their complement in '
      "the training split; only tasks.split = 'leaky' allows that."
    )
  source = config.zoo.dataset.to_dict()
  source.pop('labels', None)
  return task_outputs.Tasks(
    architecture=architecture,
    dataset=datasets.load(**source),
    codes=codes,
    conditions={split: condition.of_records(records[split]) for split in rows},
    params={split: zoo.params(chosen) for split, chosen in rows.items()},
    num_leaks=leaks,
  )


def fit(
  config: ml_collections.ConfigDict,
  prepared: task_outputs.Tasks,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> tuple[task_network.TaskNetwork, typing.PyTree, loop.History]:
  """The hypernetwork of one training seed, trained or restored.

  Returns:
    The module, its variables and the history.
  """
  module = make_module(config, prepared.architecture)
  objective = subset_tasks.SubsetTasks(
    module,
    prepared.architecture,
    prepared.codes['train'],
    prepared.conditions['train'],
    prepared.codes['val'],
    prepared.conditions['val'],
    config.tasks.num_tasks,
    config.tasks.set_size,
  )
  dataset = prepared.dataset
  if not len(dataset.val_y):
    raise ValueError(
      'Unseen tasks are validated on images of their own; '
      f'zoo.dataset.val_fraction is {config.zoo.dataset.val_fraction}.'
    )
  variables, history = loop.fit(
    objective,
    {'x': dataset.train_x, 'y': dataset.train_y},
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val={'x': dataset.val_x, 'y': dataset.val_y},
    progress=progress,
  )
  return module, variables, history


def make_module(
  config: ml_collections.ConfigDict, architecture: model_lib.Model
) -> task_network.TaskNetwork:
  """The hypernetwork that a config describes."""
  encoder = None
  if config.tasks.set_size:
    encoder = set_encoder.SetEncoder(**config.tasks.encoder.to_dict())
  return task_network.TaskNetwork(
    architecture=architecture, encoder=encoder, **config.tasks.network.to_dict()
  )


def answer(
  config: ml_collections.ConfigDict,
  prepared: task_outputs.Tasks,
  module: task_network.TaskNetwork,
  variables: typing.PyTree,
) -> tuple[typing.StackedParams, float]:
  """Networks for the test tasks, and wall seconds of one of them."""
  return generate(module, variables, requests(config, prepared))


def requests(config: ml_collections.ConfigDict, prepared: task_outputs.Tasks) -> np.ndarray:
  """What the generator is given for every test task.

  Returns:
    [n, C] conditions; or [n, S, d + 1] labelled training images, drawn alone for every task.
  """
  size, dataset = config.tasks.set_size, prepared.dataset
  if not size:
    return prepared.conditions['test']
  rng, sets = np.random.default_rng(config.seed), []
  for code in prepared.codes['test']:
    rows = rng.choice(len(dataset.train_y), size, replace=False)
    labels = code[dataset.train_y[rows]]
    sets.append(subset_tasks.labelled(dataset.train_x[rows], labels))
  return np.stack(sets).astype(np.float32)


def generate(
  module: task_network.TaskNetwork, variables: typing.PyTree, given: np.ndarray
) -> tuple[typing.StackedParams, float]:
  """Networks for `requests` [n, ...], and wall seconds of one of them."""
  run = jax.jit(jax.vmap(functools.partial(module.apply, variables)))
  jax.block_until_ready(run(given))  # Compiles.
  start = time.perf_counter()
  params = jax.block_until_ready(run(given))
  seconds = (time.perf_counter() - start) / len(given)
  return jax.device_get(params), seconds


def judge(
  config: ml_collections.ConfigDict,
  prepared: task_outputs.Tasks,
  generated: list[tuple[typing.StackedParams, float]],
) -> dict[str, Any]:
  """Accuracy on every test task, and what stands beside it.

  Args:
    config: of the run.
    prepared: the data.
    generated: networks and seconds of every training seed.

  Returns:
    'rows', of which the first are the networks trained one by one, what a gap is measured to, and
    the second those generated.
  """
  codes = prepared.codes['test']
  told = 'the code'
  if size := config.tasks.set_size:
    told = f'{size} labelled images'
  panel = task_baselines.panel(config, prepared)
  # Of the arms trained anew: the price of a step.
  longest = max(arm.seconds or 0.0 for arm in panel)
  per_step = longest / config.tasks.fresh_steps[-1]
  arms = [
    task_outputs.Arm(
      'trained one by one',
      'reference',
      task_outputs.accuracy(prepared, prepared.params['test'], codes)[None],
      per_step * config.zoo.recipe.steps,
    ),
    task_outputs.Arm(
      f'generated from {told}',
      'generator',
      np.stack([task_outputs.accuracy(prepared, params, codes) for params, _ in generated]),
      float(np.mean([seconds for _, seconds in generated])),
    ),
    *panel,
  ]
  trained = arms[0].accuracy[0]
  return {
    'rows': [
      {
        'name': arm.name,
        'kind': arm.kind,
        'n': arm.accuracy.shape[1],
        'seconds_per_net': arm.seconds,
        'metrics': task_metrics.scores(
          arm.accuracy, trained, num_bootstrap=config.evaluate.num_bootstrap, seed=config.seed
        ),
        'worst_task': subsets.text(codes[(trained - arm.accuracy.mean(0)).argmax()]),
      }
      for arm in arms
    ]
  }


def describe(
  config: ml_collections.ConfigDict,
  prepared: task_outputs.Tasks,
  module: task_network.TaskNetwork,
  variables: typing.PyTree,
  seconds: float,
) -> dict[str, Any]:
  """What the tasks were, and what generated networks for them."""
  del module
  section = ml_collections.ConfigDict({'name': 'task_network', **config.tasks.network.to_dict()})
  return {
    'tasks': {
      'dataset': prepared.dataset.name,
      'split': config.tasks.split,
      'told': (
        f'{config.tasks.set_size} labelled images'
        if config.tasks.set_size
        else config.tasks.condition.name
      ),
      'num_train': len(prepared.codes['train']),
      'num_test': len(prepared.codes['test']),
      'complements_seen': prepared.num_leaks,
      'steps_one_by_one': config.zoo.recipe.steps,
    },
    'generator': base.describe_model(section, config.train, variables, seconds),
  }
