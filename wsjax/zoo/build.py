"""Building a zoo from a config section: trained in chunks, resumable, published.

While a zoo is built, its directory holds its config, `build.json`, and the finished networks,
`log.lmdb`. At the end they are published and the log is deleted.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Int

from wsjax import config as config_lib
from wsjax import distributed, files, terminal
from wsjax.models import model as model_lib
from wsjax.zoo import entries as entries_lib
from wsjax.zoo import losses, train
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import digest, published, store
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import record as record_lib

_LOG = 'log.lmdb'
_SECONDS = 'seconds.json'
_MEASURED = ('seconds', 'networks')
_PARTS = ('dataset', 'recipe')
_LOGGED = {
  'type': 'object',
  'required': ['section'],
  'properties': {
    'section': {
      'type': 'object',
      'required': list(_PARTS),
      'properties': dict.fromkeys(_PARTS, {'type': 'object'}),
    }
  },
}
_MOST_RUNS = 10_000_000  # Their names are a list in memory.


@dataclasses.dataclass(frozen=True)
class Data(config_lib.Section):
  """The section `zoo.dataset` of a config.

  Attributes:
    name: name of the data set.
    val_fraction: see `datasets.load`.
    root: see `datasets.load`.
    labels: 'classes'; with 'subsets' network i tells the classes of row i of `subsets.codes` from
      the others.
  """

  name: str
  val_fraction: config_lib.Rate | None = None
  root: str | None = None
  labels: Annotated[str, config_lib.OneOf(('classes', 'subsets'))] = 'classes'

  def __post_init__(self):
    super().__post_init__()
    datasets.check_name(self.name, 'zoo.dataset.name')


@dataclasses.dataclass(frozen=True)
class Build(config_lib.Section):
  """The section `zoo` of a config, without the path.

  Attributes:
    architecture: section of a model. Its activation may be a tuple of m: network i of k optimizers
      has optimizer i mod k and activation (i div k) mod m.
    dataset: data that the networks learn.
    recipe: hyper-parameters of training.
    splits: split -> number of networks.
    chunk_size: networks per compiled call.
  """

  architecture: Mapping
  dataset: Data
  recipe: train.Recipe
  splits: Mapping
  chunk_size: config_lib.PositiveInt

  def models(self) -> list[model_lib.Model]:
    """One model per activation."""
    sections = [dict(self.architecture)]
    if isinstance(names := sections[0].get('activation'), list | tuple):
      sections = [{**sections[0], 'activation': name} for name in names]
    if not sections:
      raise ValueError('zoo.architecture.activation is (); allowed: one activation or more.')
    return [_model(section) for section in sections]


def _model(section: Mapping[str, Any]) -> model_lib.Model:
  """The model of a section `zoo.architecture`, also one of the user's own."""
  where = 'zoo.architecture'
  if ':' not in str(section.get('name')):
    return config_lib.build('models', section, where)
  fields = dict(section)
  name = fields.pop('name')
  made = model_lib.load(name, where, **fields)
  if not isinstance(made, model_lib.Model) or not made.can_init:
    raise ValueError(
      f'{where}: {name} does not say how new networks are drawn; see `Model.from_*`.'
    )
  return made


def check(section: Mapping[str, Any], seed: int) -> tuple[Build, list[model_lib.Model], list[str]]:
  """Reads a section `zoo`: its fields, models, and the split of every network.

  Raises:
    ValueError: if a field or the seed is not allowed.
  """
  config_lib.check_seed(seed, 'seed')
  settings = config_lib.read(Build, 'zoo', section)
  # A subset of classes and its complement are in one split.
  splits = assign(settings.splits, seed=seed, in_pairs=settings.dataset.labels == 'subsets')
  return settings, settings.models(), splits


def assign(counts: Mapping[str, int], *, seed: int, in_pairs: bool = False) -> list[str]:
  """Draws one of `record.SPLITS` for every run (not checkpoint), exactly as many of each as given.

  The count of 'holdout_audit' must be given, if only as 0, so that nobody forgets it.

  Args:
    counts: split -> number of runs.
    seed: of the draw.
    in_pairs: whether runs 2j and 2j + 1 are in one split.

  Raises:
    ValueError: for an unknown split, a missing 'holdout_audit', a count that is no whole number, no
      run at all, or an odd count of pairs.
  """
  known = record_lib.SPLITS
  if unknown := sorted(set(counts) - set(known)):
    raise ValueError(f'zoo.splits has no split {unknown[0]!r}; allowed: {", ".join(known)}.')
  if 'holdout_audit' not in counts:
    advice = 'which cannot be added later: give the number of runs to reserve, or 0'
    raise ValueError(f'zoo.splits is {dict(counts)} without holdout_audit, {advice}.')
  if any(type(n) is not int or n < 0 for n in counts.values()) or not sum(counts.values()):
    allowed = 'numbers of runs, whole and not negative, not all 0'
    raise ValueError(f'zoo.splits is {dict(counts)}; allowed: {allowed}.')
  if sum(counts.values()) > _MOST_RUNS:
    raise ValueError(f'zoo.splits is {dict(counts)}; allowed: {_MOST_RUNS} runs together.')
  size = 2 if in_pairs else 1
  if odd := {split: n for split, n in counts.items() if n % size}:
    allowed = 'even numbers, for a subset and its complement are in one split'
    raise ValueError(f'zoo.splits has {odd}; allowed: {allowed}.')
  names = [split for split in known for _ in range(counts.get(split, 0) // size)]
  order = np.random.default_rng(seed).permutation(len(names))
  return [names[place] for place in order for _ in range(size)]


def build(
  section: Mapping[str, Any], path: pathlib.Path | str, *, seed: int, progress: bool = True
) -> store.Zoo:
  """Trains and publishes the zoo that a config section describes, or opens a published one.

  Killed at any point and called again, it continues after the last finished chunk, and ends with
  equal weights. The seed is that of all networks and splits.

  Raises:
    ValueError: if a field is not allowed, the data set is missing or does not fit the model, or the
      directory holds a zoo of another config, which is left as it is.
  """
  path = pathlib.Path(path)
  section = _plain(section)
  settings, models, splits = check(section, seed)
  recipe, chunk_size = settings.recipe, settings.chunk_size
  plan = _plan(section, seed)
  log_lib.check_plan(path, plan, parts=(published.MANIFEST, _LOG))
  is_finished = (path / published.MANIFEST).exists() and not (path / _LOG).exists()
  is_free = is_finished or not distributed.is_writer()
  # Another process waits, and then opens the zoo.
  with contextlib.nullcontext() if is_free else files.hold(path, wait=True):
    # Process 0 decides: the others may see its files a little later.
    if distributed.of_writer(np.int32((path / published.MANIFEST).exists())):
      return _finish(path, models)
    dataset = datasets.load(
      settings.dataset.name, settings.dataset.root, val_fraction=settings.dataset.val_fraction
    )
    if settings.dataset.labels == 'subsets':
      codes = subsets.codes(dataset.num_classes, seed=seed)
      dataset = dataclasses.replace(dataset, codes=codes)
    _check_models(models, dataset, len(splits))
    # A chunk is one program, which is silent until it ends: minutes, for large networks.
    note = f'{recipe.steps:,} steps each, {chunk_size} networks at a time'
    shown = progress and distributed.is_writer()
    bar = terminal.Progress('zoo', len(splits), note=note, show=shown)
    with _open_log(path, plan) as log, bar:
      missing = _missing(log, len(splits), recipe.steps)
      bar.advance(len(splits) - len(missing))
      for start in range(0, len(missing), chunk_size):
        indices = missing[start : start + chunk_size]
        if start:  # A whole chunk fits the compiled program: some networks are trained twice.
          indices = np.resize(indices, chunk_size)
        entries, began = {}, time.perf_counter()
        for model, chosen in _by_model(models, recipe, indices):
          if model.task == 'image_fitting':
            trained = train.fit_images(model, dataset.train_x, recipe, chosen, seed=seed)
          else:
            trained = train.train_networks(model, dataset, recipe, chosen, seed=seed)
          if log is not None:
            facts = {'seed': seed, 'config_sha256': digest.of_json(plan), 'splits': splits}
            made = entries_lib.of_trained(trained, model, dataset, recipe, **facts)
            entries |= {entry.key: entry for entry in made}
        count = len(set(indices.tolist()))
        if log is not None:
          log.append(list(entries.values()))
          _add_seconds(path, time.perf_counter() - began, count)
        bar.advance(count)
      if log is not None:
        store.publish(log, path)
    distributed.barrier('zoo')
    return _finish(path, models)


def check_plan(section: Mapping[str, Any], path: pathlib.Path, *, seed: int) -> None:
  """Raises ValueError unless the zoo at a path is one that a config section describes."""
  log_lib.check_plan(path, _plan(section, seed), parts=(published.MANIFEST, _LOG))


def section_of(path: pathlib.Path | None) -> dict[str, Any] | None:
  """The section `zoo` that a zoo was trained by; None if it was not trained here.

  Raises:
    ValueError: if its log cannot be read.
  """
  if path is None or not (path / log_lib.NAME).exists():
    return None
  return files.read_json(path / log_lib.NAME, schema=_LOGGED)['section']


def seconds_per_network(path: pathlib.Path | None) -> float | None:
  """Wall seconds in which a network of a zoo was trained; None if nobody measured it."""
  if path is None:
    return None
  number = {'type': 'number', 'exclusiveMinimum': 0, 'maximum': 1e12}
  fields = {'properties': dict.fromkeys(_MEASURED, number), 'required': list(_MEASURED)}
  schema = {'type': 'object', **fields}
  try:
    measured = files.read_json(path / _SECONDS, max_bytes=1 << 16, schema=schema)
  except FileNotFoundError:
    return None
  except (ValueError, OSError) as error:  # It only informs.
    logging.warning('What the zoo cost is not known: %s', error)
    return None
  return measured['seconds'] / measured['networks']


def _add_seconds(path: pathlib.Path, seconds: float, networks: int) -> None:
  """Adds the wall time of a chunk to what is kept with the zoo."""
  is_known = seconds_per_network(path) is not None
  old = files.read_json(path / _SECONDS) if is_known else dict.fromkeys(_MEASURED, 0)
  new = {'seconds': old['seconds'] + seconds, 'networks': old['networks'] + networks}
  files.replace(path / _SECONDS, json.dumps(new))


def _plan(section: Mapping[str, Any], seed: int) -> dict[str, Any]:
  """Seed and section of a zoo, without the two fields that change no weight."""
  section = _plain(section)
  section.pop('chunk_size', None)
  if isinstance(section.get('dataset'), dict):
    section['dataset'].pop('root', None)
  return {'seed': int(seed), 'section': section}


def _open_log(
  path: pathlib.Path, plan: Mapping[str, Any]
) -> contextlib.AbstractContextManager[store.Log | None]:
  """The log, in process 0; None in the others, which only train."""
  if not distributed.is_writer():
    return contextlib.nullcontext()
  log_lib.write_plan(path, plan)  # First: a log without a plan belongs to no zoo.
  return store.Log(path / _LOG)


def _missing(log: store.Log | None, num_networks: int, steps: int) -> Int[np.ndarray, ' n']:
  """Networks that the log lacks, equal in all processes."""
  done = set(() if log is None else log.keys())
  lacks = np.array([entries_lib.key(i, steps) not in done for i in range(num_networks)])
  return np.flatnonzero(distributed.of_writer(lacks))


def _plain(value: Any) -> Any:
  """Mappings as dicts and sequences as lists, at all levels."""
  if isinstance(value, Mapping):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  return value


def _check_models(
  models: Sequence[model_lib.Model], dataset: datasets.Dataset, num_networks: int
) -> None:
  """Raises ValueError unless the models take the data, and every network has a task."""
  name, task = dataset.name, models[0].task
  if dataset.loss is not None:
    for model in models:
      _check_loss(model, dataset)
    return
  num_tasks, example, num_outputs = num_networks, dataset.train_x[:1], dataset.num_classes
  is_exact = dataset.codes is not None or task == 'image_fitting'
  what = 'training images'
  if dataset.codes is not None:
    if task != 'classification':
      raise ValueError(f"zoo.dataset.labels is 'subsets'; allowed: 'classes' to learn {task}.")
    num_tasks, num_outputs, what = len(dataset.codes), 2, 'subsets of its classes'
  elif task == 'image_fitting':
    example, num_outputs = np.zeros((1, 2), np.float32), dataset.train_x.shape[-1]
    num_tasks = len(dataset.train_x)
  if num_networks > num_tasks:
    found = f'{name} has {num_tasks} {what}, one for each'
    raise ValueError(f'zoo.splits has {num_networks} networks; {found}.')
  for model in models:
    try:
      found = model.num_outputs(example)
    except (TypeError, ValueError) as error:
      given = f'{" x ".join(map(str, example.shape[1:]))}, those of {name}'
      raise ValueError(
        f'zoo.architecture: {model.name} takes no inputs of {given}: {error}'
      ) from error
    if found < num_outputs or (is_exact and found > num_outputs):
      needed = f'{found} outputs, but {name} needs {num_outputs}'
      raise ValueError(f'zoo.architecture: {model.name} has {needed}.')


def _check_loss(model: model_lib.Model, dataset: datasets.Dataset) -> None:
  """Raises ValueError unless the loss of a data set takes the model and the data."""
  batch = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (dataset.train_x, dataset.train_y))
  if dataset.codes is not None:
    raise ValueError(f"zoo.dataset.labels is 'subsets', and {dataset.name} has a loss of its own.")
  try:
    found = jax.eval_shape(
      functools.partial(losses.value, dataset.loss, model), model.shapes, batch
    )
  except Exception as error:  # Libraries have errors of their own.
    problem = f'the loss of {dataset.name} does not take {model.name}'
    raise ValueError(f'zoo.dataset: {problem}: {error}') from error
  if found.shape:
    raise ValueError(f'zoo.dataset: the loss of {dataset.name} has shape {found.shape}, not ().')


def _by_model(
  models: Sequence[model_lib.Model], recipe: train.Recipe, indices: Int[np.ndarray, ' n']
) -> Iterator[tuple[model_lib.Model, Int[np.ndarray, ' m']]]:
  """The models of some networks, each with the networks that have it."""
  number = (indices // len(recipe.optimizers)) % len(models)
  for place, model in enumerate(models):
    if (number == place).any():
      yield model, indices[number == place]


def _finish(path: pathlib.Path, models: Sequence[model_lib.Model]) -> store.Zoo:
  """Opens a published zoo; deletes the log once all weights are verified."""
  zoo = store.Zoo.open(path, model=models[0] if len(models) == 1 else None)
  if distributed.is_writer() and (path / _LOG).exists():
    zoo.check()
    # Empty, from a process that was killed after its last rename.
    shutil.rmtree(path / published.STAGING, ignore_errors=True)
    shutil.rmtree(path / _LOG)
  return zoo
