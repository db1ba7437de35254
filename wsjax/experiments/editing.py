"""Editing networks through their weights: data, training, scores."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.encoders import predictor as predictor_lib
from wsjax.evaluation import equivariance
from wsjax.experiments import editing_metrics, properties
from wsjax.layers import residual
from wsjax.models import model as model_lib
from wsjax.train import augment, editing, loop
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import images
from wsjax.zoo.store import store

_SHOWN = 6  # Test networks in the figure.
_ALIKE = 1024  # Training networks that set what is done to all alike.
_MOVED = 16  # Test networks whose units are moved.


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A zoo in the form that an editor learns from.

  Attributes:
    architecture: of all its networks.
    splits: 'train', 'val' and 'test' -> path -> [N, ...] weights.
  """

  architecture: model_lib.Model
  splits: dict[str, typing.StackedParams]


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Weights of every split; there is no other data, and nothing to choose.

  Raises:
    ValueError: if a split has no network, or the networks do not draw.
  """
  del config
  record = zoo.records[0]
  architecture = model_lib.from_record(record['arch_id'], record['arch_config'])
  if architecture.task != 'image_fitting':
    raise ValueError(
      f'Edits are of networks for image_fitting; those at {zoo.path} are for {architecture.task}.'
    )
  splits = {}
  for split in properties.SPLITS:
    rows = zoo.select(split=split, final=True, diverged=False)
    if not len(rows):
      raise ValueError(f'The zoo at {zoo.path} has no networks of {split}.')
    splits[split] = zoo.params(rows)
  return Prepared(architecture, splits)


def fit(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> tuple[residual.Residual, typing.PyTree, loop.History]:
  """The editor of one training seed, trained or restored.

  Returns:
    The module, its averaged variables and the history.
  """
  architecture = prepared.architecture
  module = residual.Residual(
    config_lib.build('editors', {**config.edit.editor.to_dict(), 'architecture': architecture}),
    predictor_lib.leaf_scales(prepared.splits['train']),
  )
  objective = editing.Editing(
    module,
    architecture,
    config.edit.name,
    config.edit.pixels,
    augment.make(config.augment, architecture),
  )
  variables, history = loop.fit(
    objective,
    prepared.splits['train'],
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=prepared.splits['val'],
    progress=progress,
  )
  return module, variables, history


def answer(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  module: residual.Residual,
  variables: typing.PyTree,
) -> typing.StackedParams:
  """Edited weights of the test networks, path -> [N, ...], on the host."""
  del config
  run = jax.jit(jax.vmap(module.apply, in_axes=(None, 0)))
  return networks_lib.in_chunks(functools.partial(run, variables), prepared.splits['test'])


def judge(
  config: ml_collections.ConfigDict, prepared: Prepared, edited: list[typing.StackedParams]
) -> dict[str, Any]:
  """Scores of all training seeds on the test split, and what stands beside.

  Args:
    config: of the run.
    prepared: the data.
    edited: weights of the test split for every training seed.

  Returns:
    'rows', of which the first is the editor, the second no edit, the third the same change of
    brightness for all and the last a training run per network; and 'pictures', of the first
    networks.
  """
  draw = jax.jit(
    jax.vmap(lambda params: images.draw(prepared.architecture, params, config.edit.pixels))
  )
  to_target = jax.jit(jax.vmap(lambda picture: images.target(picture, config.edit.name)))
  test = prepared.splits['test']
  before = networks_lib.in_chunks(draw, test)
  target = np.asarray(to_target(before))
  some = networks_lib.in_chunks(
    draw, {path: x[:_ALIKE] for path, x in prepared.splits['train'].items()}
  )
  # As an edit: the last kernel times the factor, and so for its bias. What does not beat this has
  # not read the weights.
  factor, shift = np.polyfit(some.ravel(), np.asarray(to_target(some)).ravel(), 1)
  num_direct = min(config.evaluate.num_direct, len(target))
  direct = train_lib.fit_images(
    prepared.architecture,
    target,
    recipe_lib.Recipe(**config.zoo.recipe.to_dict()),
    np.arange(num_direct),
    seed=config.seed,
    initial={path: x[:num_direct] for path, x in test.items()},
  ).params
  after = [networks_lib.in_chunks(draw, params) for params in edited]
  anew = networks_lib.in_chunks(draw, direct)
  rows = [
    (f'edited by {config.edit.editor.name}', after),
    ('no edit', [before]),
    ('one factor and shift for all', [factor * before + shift]),
    ('fitted anew', [anew]),
  ]
  shown = [
    ('drawn', before), ('target', target), ('edited', after[0]),
    ('fitted anew', anew),
  ]  # fmt: skip
  return {
    'rows': [
      {
        'name': name,
        'n': len(drawn[0]),
        'metrics': editing_metrics.scores(
          np.stack([_errors(x, target) for x in drawn]),
          num_bootstrap=config.evaluate.num_bootstrap,
          seed=config.seed,
        ),
      }
      for name, drawn in rows
    ],
    'pictures': [
      {'title': title, 'pictures': x[: min(_SHOWN, num_direct)].round(3)} for title, x in shown
    ],
  }


def describe(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  module: residual.Residual,
  variables: typing.PyTree,
  seconds: float,
) -> dict[str, Any]:
  """What was edited, and by what, for the report."""
  train, test = (len(next(iter(prepared.splits[split].values()))) for split in ('train', 'test'))
  return {
    'editing': {
      'edit': config.edit.name,
      'pixels': config.edit.pixels,
      'direct_steps': config.zoo.recipe.steps,
      'num_train': train,
      'num_test': test,
    },
    'editor': properties.describe_model(config.edit.editor, config.train, variables, seconds),
    'equivariance': equivariance.of_edit(
      functools.partial(module.apply, variables),
      prepared.architecture,
      {path: x[:_MOVED] for path, x in prepared.splits['test'].items()},
      pixels=config.edit.pixels,
      seed=config.seed,
    ),
  }


def _errors(drawn: np.ndarray, target: np.ndarray) -> np.ndarray:
  """[n] mean squared error of the first n pictures, as drawn: not clipped."""
  difference = (drawn - target[: len(drawn)]).astype(np.float64)
  return np.mean(difference**2, axis=(1, 2, 3))
