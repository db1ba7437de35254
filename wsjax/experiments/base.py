"""Experiments: one kind is one class, and `wsjax.run` has one loop for all kinds."""

import abc
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import files, typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.report import model
from wsjax.models import model as model_lib
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo import build
from wsjax.zoo.store import published, store

SPLITS = ('train', 'val', 'test')


class Experiment(abc.ABC):
  """One kind of experiment: its data, model, predictions and report.

  `config.experiment` names the class. `wsjax.run` constructs it, calls `fit` and `predict` for
  every training seed, and `report` once.

  Attributes:
    METRICS: what its tables show.
    SECTIONS: section of its config -> dataclass of the fields, which are checked before the zoo is
      trained.
    PLUGINS: sections that it needs which describe plug-ins.
    OPTIONAL: sections that it can do without.
    PRIVATE: whether `train.privacy` is allowed: nothing but gradients depends on the training data.
    config: sections named after the rooms.
    zoo: networks with records.
    train: the data that `fit` trains on, arrays with leading axis [N].
    val: data of another split, or None.
    workdir: where the run keeps its files.
    progress: whether to show progress bars.
    seconds: stage -> wall seconds until now, summed over restarts.
    num_params: numbers in the variables of the model, once it is fitted.
  """

  METRICS: ClassVar[tuple[metric_lib.Metric, ...]] = ()
  SECTIONS: ClassVar[Mapping[str, type]] = {}
  PLUGINS: ClassVar[tuple[str, ...]] = ()
  OPTIONAL: ClassVar[tuple[str, ...]] = ()
  PRIVATE: ClassVar[bool] = False

  train: typing.PyTree
  val: typing.PyTree | None = None
  workdir: pathlib.Path = pathlib.Path()
  progress: bool = False
  seconds: Mapping[str, float] = {}
  num_params: int = 0

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    """Reads the data; raises ValueError if the zoo or the config does not fit the experiment."""
    self.config, self.zoo = config, zoo

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks what several fields say together, before the zoo is trained.

    Args:
      config: of the experiment, whose fields are allowed one by one.
      counts: split -> networks of the zoo that will be trained; None for one that is imported.

    Raises:
      ValueError: if they do not fit each other.
    """
    del config, counts

  @abc.abstractmethod
  def objective(self, seed: int) -> objective_lib.Objective:
    """Makes what `train.loop.fit` trains: an object with `init` and `loss`."""

  @abc.abstractmethod
  def predict(self, params: typing.PyTree, seed: int) -> Any:
    """Applies the trained model of one seed to the networks that it is evaluated on."""

  @abc.abstractmethod
  def report(self, predictions: list[Any]) -> model.Report:
    """Compares the predictions of all training seeds with the baselines."""

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Trains the model of one seed, or continues a training that was interrupted.

    Without `trains` it is only restored, and nothing is written.

    Returns:
      Its averaged parameters, and the history of the losses.
    """
    params, history = loop.fit(
      self.objective(seed),
      self.train,
      self.config.train.to_dict(),
      seed=seed,
      workdir=self.workdir / f'train/seed{seed}',
      val=self.val,
      progress=self.progress,
      trains=trains,
    )
    self.num_params = sum(x.size for x in jax.tree.leaves(params))
    return params, history

  def model_facts(self, section: ml_collections.ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Describes the trained model for the report: its section, size and training."""
    seeds = list(self.config.train.seeds)
    return {
      **(section.to_dict() if isinstance(section, ml_collections.ConfigDict) else section),
      'num_params': self.num_params,
      'steps': self.config.train.steps,
      'train_seconds': self.seconds.get('train', 0.0) / len(seeds),
      'seeds': seeds,
    }

  def row(self, tables: Mapping[str, Any], kind: str = 'baseline') -> model.Row:
    """Makes a row of means over networks and seeds with their intervals.

    Args:
      tables: metric name -> [S, n] numbers of every training seed and network; or a function (seed
        index, rows of networks) -> number together with the shape (S, n).
      kind: of the row.
    """
    stats, seeds = {}, list(self.config.train.seeds)
    for name, table in tables.items():
      if isinstance(table, tuple):
        statistic, shape = table
      else:
        statistic, shape = (lambda s, rows, table=table: table[s, rows].mean()), table.shape
      num_bootstrap, seed = self.config.evaluate.num_bootstrap, self.config.seed
      stats[name] = statistics.over_seeds(statistic, shape[0], shape[1], num_bootstrap, seed)
    return model.Row(shape[1], stats, kind, seeds if kind == 'model' else [])


def find(name: str) -> type[Experiment]:
  """Imports a class: of a file of wsjax/experiments, 'package.module:Class' or 'file.py:Class'.

  Raises:
    ValueError: if there is no such module, or it has no such `Experiment`.
  """
  kind = config_lib.find('experiments', name, 'experiment')
  if not (isinstance(kind, type) and issubclass(kind, Experiment)):
    raise ValueError(f'experiment is {name!r}, which is no subclass of Experiment.')
  return kind


def open_zoo(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, *, progress: bool, trains: bool = True
) -> store.Zoo:
  """Opens the zoo of a config; trains it, or continues that, where it is not finished.

  The zoo is in the work directory unless `config.zoo.path` names another one; without `trains`
  nothing is trained or written. A section without `architecture` is of networks that were trained
  elsewhere; its `model` is a section that names theirs, where it is not one of `wsjax.models`, as
  `models.model.load` takes it; its other fields are arguments of a function.

  Raises:
    ValueError: as `build.build`; or if an imported zoo, or one that may not be trained, is not
      there.
  """
  section = config.zoo.to_dict()
  path = files.folder(section.pop('path') or workdir / 'zoo', 'zoo.path')
  is_there = (path / published.MANIFEST).exists()
  if not trains:
    if not is_there:
      raise ValueError(
        f'The zoo that the run in {workdir} was trained on is not at {path}. It is needed, and '
        'would be trained by `wsjax run`.'
      )
    if 'architecture' in section:
      build.check_plan(section, path, seed=config.seed)
      if ':' in str(section['architecture'].get('name')):
        return store.Zoo.open(path, model=_model(section['architecture']))
    return store.Zoo.open(path, model=_model(section.get('model')))
  if 'architecture' not in section:
    if not is_there:
      raise ValueError(
        f'{path} holds no zoo, and without zoo.architecture none is trained; make it with: '
        f'wsjax zoo import {section.get("family", "NAME")} --from DIR --out {path}; or in Python '
        'with wsjax.Zoo.of(model, params).save(path).'
      )
    zoo = store.Zoo.open(path, model=_model(section.get('model')))
  else:
    zoo = build.build(section, path, seed=config.seed, progress=progress)
  if len(zoo) and len(zoo.select(diverged=True)) == len(zoo):
    raise ValueError(
      f'All networks of {path} have diverged: their weights or losses are not finite. Try a lower '
      'zoo.recipe.learning_rate, and another zoo.path.'
    )
  return zoo


def _model(section: Mapping[str, Any] | None) -> model_lib.Model | None:
  """The model of the user's own that `zoo.model` names; None for None.

  Raises:
    ValueError: if there is no such model.
  """
  if section is None:
    return None
  fields = dict(section)
  name = fields.pop('name', None)
  model = model_lib.load(name, 'zoo.model', **fields)
  if not isinstance(model, model_lib.Model):
    raise ValueError(f'zoo.model: {name} makes a model of tensors; a zoo has one for all networks.')
  return model


def rows_of_runs(zoo: store.Zoo, ends: np.ndarray) -> np.ndarray:
  """Rows of all checkpoints of the runs whose final checkpoints are `ends`, increasing."""
  runs = {zoo.records[row]['run_id'] for row in ends}
  every = zoo.select(final=None, diverged=None)
  return np.array([i for i in every if zoo.records[i]['run_id'] in runs], int)


def check_splits(counts: Mapping[str, int]) -> None:
  """Raises ValueError if one of `SPLITS` of a zoo that will be trained has no networks."""
  for split in SPLITS:
    if counts.get(split, 0) < 1:
      raise ValueError(
        f'zoo.splits.{split} is {counts.get(split, 0)}; this experiment needs at least 1.'
      )


def final_rows(zoo: store.Zoo, splits: Sequence[str] = SPLITS) -> dict[str, np.ndarray]:
  """Rows of the ends of the runs that did not diverge; raises ValueError for a split without any.

  Returns:
    split -> [N], increasing.
  """
  found = {split: zoo.select(split=split, final=True, diverged=False) for split in splits}
  for split, rows in found.items():
    if not len(rows):
      raise ValueError(f'The zoo at {zoo.path} has no networks of {split}.')
  return found


def final_params(zoo: store.Zoo, splits: Sequence[str] = SPLITS) -> dict[str, typing.StackedParams]:
  """Reads the weights of `final_rows`, split -> path -> [N, ...]."""
  return {split: zoo.params(rows) for split, rows in final_rows(zoo, splits).items()}


def training_figures(history: loop.History) -> dict[str, model.Figure]:
  """Curves of the losses, and of other values that the training loop recorded."""
  if not history.get('loss'):
    return {}
  steps = history['step']
  curves = [
    {'label': label, 'kind': kind, 'x': steps, 'y': history[key]}
    for label, key, kind in (('training', 'loss', 'reference'), ('validation', 'val_loss', 'model'))
    if key in history
  ]
  made = {
    'training': model.Figure(
      'lines',
      {'panels': [{'lines': curves, 'xlabel': 'step'}], 'ylabel': 'loss', 'scale': 'log'},
      'Training',
      'Loss of training batches and, with averaged parameters, of the validation split.',
    )
  }
  for key in sorted(set(history) - {'step', 'loss', 'val_loss'}):
    panel = {'lines': [{'x': steps, 'y': history[key]}], 'xlabel': 'step'}
    title = key.replace('_', ' ').capitalize()
    made[key] = model.Figure('lines', {'panels': [panel], 'ylabel': key}, title)
  return made
