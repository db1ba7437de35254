"""One update by a prompt: a zoo of runs, a model of them, what it delivers."""

import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import typing
from wsjax.encoders import predictor as predictor_lib
from wsjax.evaluation import methods
from wsjax.evaluation import nearest as nearest_lib
from wsjax.experiments import base
from wsjax.experiments import prepare as prepare_lib
from wsjax.experiments import prompting_metrics as metrics_lib
from wsjax.generators.parts import prompted
from wsjax.models import model as model_lib
from wsjax.train import loop, prompting
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

Runs = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A zoo as runs, each from its start to its end.

  Attributes:
    architecture: of all networks.
    recipe: how they were trained.
    dataset: what they learned.
    steps: [K] of the checkpoints of a run; the first is 0.
    runs: split -> {'params': path -> [N, K, ...], 'loss': [N, K]}, the loss on validation images in
      nats.
  """

  architecture: model_lib.Model
  recipe: train_lib.Recipe
  dataset: datasets.Dataset
  steps: tuple[int, ...]
  runs: dict[str, Runs]

  def at(self, split: str, place: int) -> typing.StackedParams:
    """path -> [N, ...] checkpoint number `place` of every run."""
    return {path: value[:, place] for path, value in self.runs[split]['params'].items()}

  def val_loss(self, params: typing.StackedParams) -> np.ndarray:
    """[n] loss on validation images: what a network is said to have."""
    data = self.dataset
    return metrics_lib.work(self.architecture, params, data.val_x, data.val_y)['loss']

  @functools.cached_property
  def ends(self) -> nearest_lib.Search:
    """Finds, for a network, the nearest end of a training run."""
    return self._among(self.at('train', -1))

  @functools.cached_property
  def apart(self) -> float:
    """`spacing` of the ends of training runs."""
    return _spacing(self.ends)

  def spacing(self, params: typing.StackedParams) -> float:
    """Median distance of a network to the nearest other, L2.

    Over the orders of units, of networks whose weights are finite; NaN where fewer than two are.
    """
    usable = np.flatnonzero(methods.usable(params))
    if len(usable) < 2:
      return float('nan')
    return _spacing(self._among(methods.take(params, usable)))

  def _among(self, params: typing.StackedParams) -> nearest_lib.Search:
    first = {path: x[0] for path, x in params.items()}
    return nearest_lib.Search(params, self.architecture.spec, first)

  @property
  def losses(self) -> np.ndarray:
    """[N K] of all training checkpoints."""
    return self.runs['train']['loss'].ravel()


def prepare(config: ml_collections.ConfigDict, zoo: store.Zoo) -> Prepared:
  """Weights and losses of every run, their starts drawn again.

  Raises:
    ValueError: if a split has no run, or there are no validation images.
  """
  architecture = zoo.model
  recipe = train_lib.Recipe(**config.zoo.recipe.to_dict())
  dataset = datasets.load(**config.zoo.dataset.to_dict())
  if not len(dataset.val_y):
    raise ValueError(
      'A prompt is a loss on validation images; zoo.dataset.val_fraction is '
      f'{config.zoo.dataset.val_fraction}, and there are none.'
    )
  losses = zoo.column('final', 'val', 'loss')
  steps = (0, *recipe.snapshots, recipe.steps)
  prepared = Prepared(architecture, recipe, dataset, steps, {})
  for split in base.SPLITS:
    ends = zoo.select(split=split, final=True, diverged=False)
    if not len(ends):
      raise ValueError(f'The zoo at {zoo.path} has no networks of {split}.')
    # Keys sort by run and step, and so do rows.
    rows = prepare_lib.rows_of_runs(zoo, ends).reshape(len(ends), -1)
    indices = np.array([int(zoo.keys[i].split('/')[0]) for i in ends], np.int32)
    starts = jax.device_get(train_lib.initial_params(architecture, recipe, indices, config.seed))
    flat = zoo.params(rows.ravel())
    params = {
      path: np.concatenate(
        [starts[path][:, None], value.reshape(*rows.shape, *value.shape[1:])], axis=1
      )
      for path, value in flat.items()
    }
    first = prepared.val_loss(starts)[:, None]
    prepared.runs[split] = {
      'params': params,
      'loss': np.concatenate([first, losses[rows]], 1).astype(np.float32),
    }
  return prepared


def fit(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  workdir: pathlib.Path,
  *,
  seed: int,
  progress: bool,
) -> tuple[prompted.Prompted, typing.PyTree, loop.History]:
  """The model of one training seed, trained or restored.

  Returns:
    The module, its averaged variables and the history.
  """
  section = config.prompt.to_dict()
  # From a multiple of the distance of training runs to one in weights.
  section['apart'] *= prepared.apart
  module = prompted.Prompted(
    prepared.architecture.spec,
    predictor_lib.leaf_scales(prepared.at('train', -1)),
    **section.pop('model'),
  )
  objective = prompting.Prompting(
    module, prepared.architecture, prepared.dataset.train_x, prepared.dataset.train_y, **section
  )
  variables, history = loop.fit(
    objective,
    prepared.runs['train'],
    config.train.to_dict(),
    seed=seed,
    workdir=workdir / f'train/seed{seed}',
    val=prepared.runs['val'],
    progress=progress,
  )
  return module, variables, history


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
  """What the model of one training seed made of the test starts.

  Attributes:
    arms: name -> path -> [n, ...] new weights.
    requested: [r] losses that were asked for, from few starts each.
    achieved: 'val' and 'test' -> [r] losses that came.
    seconds: of one pass for all n starts.
  """

  arms: dict[str, typing.StackedParams]
  requested: np.ndarray
  achieved: dict[str, np.ndarray]
  seconds: float


def answer(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  module: prompted.Prompted,
  variables: typing.PyTree,
) -> Answers:
  """Prompts the model from starts that no training saw."""
  run = jax.jit(jax.vmap(module.apply, (None, 0, 0, 0)))

  def ask(start: typing.StackedParams, wanted: Any) -> typing.StackedParams:
    loss = prepared.val_loss(start)
    asked = np.broadcast_to(np.float32(wanted), loss.shape)
    return jax.device_get(run(variables, start, loss, asked))

  start = prepared.at('test', 0)
  inside, beyond = float(prepared.losses.min()), config.prompt.lowest
  made = {f'one prompt, {inside:.3f} nats': ask(start, inside)}
  once = ask(start, beyond)
  twice = ask(once, beyond)
  made |= {
    f'one prompt, {beyond:.3f} nats': once,
    f'two prompts, {beyond:.3f} nats': twice,
    f'three prompts, {beyond:.3f} nats': ask(twice, beyond),
    'one prompt from noise': ask(_noise(module, start, config.seed), beyond),
  }
  loss = prepared.val_loss(start)
  asked = np.full_like(loss, beyond)
  begin = time.perf_counter()
  jax.block_until_ready(run(variables, start, loss, asked))
  seconds = time.perf_counter() - begin

  num, section = len(loss), config.evaluate
  grid = np.geomspace(beyond, config.prompt.highest, section.num_prompts)
  few = np.arange(min(num, section.num_grid))
  requested = np.repeat(grid, len(few))
  nets = ask(methods.take(start, np.tile(few, len(grid))), requested)
  data = prepared.dataset
  return Answers(
    made,
    requested,
    {
      'val': prepared.val_loss(nets),
      'test': metrics_lib.work(prepared.architecture, nets, data.test_x, data.test_y)['loss'],
    },
    seconds,
  )


def describe(
  config: ml_collections.ConfigDict,
  prepared: Prepared,
  module: prompted.Prompted,
  variables: typing.PyTree,
  seconds: float,
) -> dict[str, Any]:
  """What was prompted, and what with, for the report."""
  del module
  return {
    'prompting': {
      'num_train': len(prepared.runs['train']['loss']),
      'num_test': len(prepared.runs['test']['loss']),
      'checkpoints': len(prepared.steps),
      'lowest_of_zoo': float(prepared.losses.min()),
      'dataset': prepared.dataset.name,
    },
    'model': base.describe_model(config.prompt, config.train, variables, seconds),
  }


def _spacing(networks: nearest_lib.Search) -> float:
  distance, _ = networks.nearest(networks.train, exclude_same_index=True)
  return float(np.median(distance))


def _noise(
  module: prompted.Prompted, like: typing.StackedParams, seed: int
) -> typing.StackedParams:
  """Normal noise of the size of trained weights: a start that is none."""
  rng = np.random.default_rng(seed)
  return {
    path: (scale * rng.normal(size=like[path].shape)).astype(np.float32)
    for path, scale in module.scales
  }
