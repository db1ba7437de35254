"""Building a zoo from a config section: trained in chunks, resumable, published.

While it is built the folder holds `build.json`, what is being built, and `log.lmdb`, the nets that
are finished. When all are, they are published and
the log is deleted.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.progress

from wsjax import config as config_lib
from wsjax import distributed, lock
from wsjax.models import model as model_lib
from wsjax.zoo import splits as splits_lib
from wsjax.zoo import train, training_records
from wsjax.zoo.data import datasets, subsets
from wsjax.zoo.store import digest, publish, store
from wsjax.zoo.store import plan as plan_lib

SECTIONS = ('architecture', 'dataset', 'recipe', 'splits', 'chunk_size')
LABELS = ('classes', 'subsets')
_LOG = 'log.lmdb'


def build(
  section: Mapping[str, Any], path: pathlib.Path | str, *, seed: int, progress: bool = True
) -> store.Zoo:
  """Trains and publishes the zoo that a config section describes.

  Killed at any point and called again it goes on behind the last finished chunk, and the weights
  come out the same. A zoo that is there already is opened.

  Args:
    section: `architecture`, whose activation may be a tuple; `dataset` and `recipe`, arguments of
      `datasets.load` and `train.Recipe`; `splits`,
      split -> number of runs; `chunk_size`, nets per compiled call. Net i of k optimizers and a
      activations has optimizer number i mod k and activation number (i div k) mod a. `dataset` may
      have `labels`: with 'subsets' net i tells the classes of row i of `subsets.codes` from the
      others, and complements are of one split.
    path: folder of the zoo.
    seed: of everything.
    progress: whether to show a progress bar on standard error.

  Returns:
    The published zoo.

  Raises:
    ValueError: if the section is wrong, the data set is missing, or the folder holds a zoo of
      another config, which is left as it is.
  """
  path = pathlib.Path(path)
  section = _plain(section)
  _check_keys(section)
  chunk_size = section.pop('chunk_size')
  root = section['dataset'].pop('root', None)
  # Neither of the two changes a weight; all the rest does.
  plan = {'seed': int(seed), 'section': section}
  families = _families(section['architecture'])
  recipe = _recipe(section['recipe'])
  source = dict(section['dataset'])
  labels = source.pop('labels', LABELS[0])
  splits = _assign(labels, section['splits'], seed)
  plan_lib.check(path, plan, parts=(publish.MANIFEST, _LOG))
  with _alone(path):
    # Process 0 decides: the others may see its files a little later.
    if distributed.of_writer(np.int32((path / publish.MANIFEST).exists())):
      return _finish(path)
    dataset = datasets.load(**source, root=root)
    if labels == 'subsets':
      codes = subsets.codes(dataset.num_classes, seed=seed)
      dataset = dataclasses.replace(dataset, codes=codes)
    _check_tasks(families, dataset, len(splits))
    with _open_log(path, plan) as log, _progress(progress) as bar:
      missing = _missing(log, len(splits), recipe.steps)
      task = bar.add_task('training', total=len(splits), completed=len(splits) - len(missing))
      for start in range(0, len(missing), chunk_size):
        indices = missing[start : start + chunk_size]
        if start:  # Whole, so that the compiled program fits: some nets twice.
          indices = np.resize(indices, chunk_size)
        entries = {}
        for architecture, chosen in _by_family(families, recipe, indices):
          trained = _train(architecture, dataset, recipe, chosen, seed)
          if log is not None:
            made = training_records.entries(
              trained,
              architecture,
              dataset,
              recipe,
              seed=seed,
              config_sha256=digest.of_json(plan),
              splits=splits,
            )
            entries |= {entry.key: entry for entry in made}
        if log is not None:
          log.append(list(entries.values()))
        bar.advance(task, len(set(indices.tolist())))
      if log is not None:
        store.publish(log, path)
    distributed.barrier('zoo')
    return _finish(path)


def _alone(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """A zoo that is built, for one run; another waits, and then finds it."""
  finished = (path / publish.MANIFEST).exists() and not (path / _LOG).exists()
  if finished or not distributed.is_writer():
    return contextlib.nullcontext()
  return lock.hold(path, wait=True)


def _open_log(
  path: pathlib.Path, plan: Mapping[str, Any]
) -> contextlib.AbstractContextManager[store.Log | None]:
  """The log, in process 0; None in the others, which only train."""
  if not distributed.is_writer():
    return contextlib.nullcontext()
  plan_lib.write(path, plan)  # First: a log without a plan is of nobody.
  return store.Log(path / _LOG)


def _missing(log: store.Log | None, num_runs: int, steps: int) -> np.ndarray:
  """[n] nets that the log lacks, the same in every process."""
  done = set(() if log is None else log.keys())
  lacks = np.array([training_records.key(i, steps) not in done for i in range(num_runs)])
  return np.flatnonzero(distributed.of_writer(lacks))


def _plain(value: Any) -> Any:
  """Mappings as dicts and sequences as lists, all the way down."""
  if isinstance(value, Mapping):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  return value


def _check_keys(section: Mapping[str, Any]) -> None:
  """Raises ValueError unless a zoo section has its keys and no other."""
  allowed = f'it has {", ".join(SECTIONS)}'
  if unknown := sorted(set(section) - set(SECTIONS)):
    raise ValueError(f'A zoo section has no key {unknown[0]!r}; {allowed}.')
  if missing := sorted(set(SECTIONS) - set(section)):
    raise ValueError(f'A zoo section lacks key {missing[0]!r}; {allowed}.')
  if not isinstance(section['chunk_size'], int) or section['chunk_size'] < 1:
    raise ValueError(f'chunk_size must be at least 1; got {section["chunk_size"]!r}.')
  if wrong := [n for n in section['splits'].values() if type(n) is not int]:
    raise ValueError(f'Splits are whole numbers of runs; got {wrong[0]!r}.')
  allowed = {'name', 'val_fraction', 'root', 'labels'}
  if unknown := set(section['dataset']) - allowed:
    raise ValueError(
      f'The dataset of a zoo has no key {sorted(unknown)[0]!r}; allowed: '
      'name, val_fraction, root, labels.'
    )


def _assign(labels: str, counts: Mapping[str, int], seed: int) -> list[str]:
  """Split of every net: drawn alone, or with its complement."""
  if labels not in LABELS:
    raise ValueError(f'Unknown labels {labels!r} of a data set; allowed: {", ".join(LABELS)}.')
  if labels == 'subsets':
    return subsets.assign(counts, seed=seed)
  return splits_lib.assign(sum(counts.values()), counts, seed=seed)


def _families(section: Mapping[str, Any]) -> list[model_lib.Model]:
  """One architecture per activation."""
  activations = section.get('activation')
  if not isinstance(activations, list):
    return [config_lib.build('models', section)]
  return [
    config_lib.build('models', {**section, 'activation': activation}) for activation in activations
  ]


def _recipe(section: Mapping[str, Any]) -> train.Recipe:
  """The recipe of a section."""
  allowed = [field.name for field in dataclasses.fields(train.Recipe)]
  if unknown := sorted(set(section) - set(allowed)):
    raise ValueError(f'A recipe has no key {unknown[0]!r}; allowed: {", ".join(allowed)}.')
  return train.Recipe(
    **{key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
  )


def _check_tasks(
  families: Sequence[model_lib.Model], dataset: datasets.Dataset, num_runs: int
) -> None:
  """Raises ValueError unless every net has something that it can learn."""
  if dataset.codes is not None:
    if families[0].task != 'classification' or num_runs > len(dataset.codes):
      raise ValueError(
        f'Subsets of the classes of {dataset.name} are tasks for up to '
        f'{len(dataset.codes)} classifiers; got {num_runs} nets for '
        f'{families[0].task}.'
      )
    widths = {family.num_outputs(dataset.train_x[:1]) for family in families}
    if widths != {2}:
      raise ValueError(
        'A subset against the other classes needs 2 outputs; got an '
        f'architecture with {max(widths)}.'
      )
  if families[0].task == 'image_fitting' and num_runs > len(dataset.train_x):
    raise ValueError(
      f'Net i is fitted to image i; {num_runs} runs need as many training '
      f'images, and {dataset.name} has {len(dataset.train_x)}.'
    )


def _by_family(
  families: Sequence[model_lib.Model], recipe: train.Recipe, indices: np.ndarray
) -> Iterator[tuple[model_lib.Model, np.ndarray]]:
  """Which of some nets have which architecture, where any have."""
  number = (indices // len(recipe.optimizers)) % len(families)
  for place, architecture in enumerate(families):
    if (number == place).any():
      yield architecture, indices[number == place]


def _train(
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  recipe: train.Recipe,
  indices: np.ndarray,
  seed: int,
) -> train.TrainedNetworks:
  """Classifiers of the data set, or one net per image of it."""
  if architecture.task == 'image_fitting':
    return train.fit_images(architecture, dataset.train_x, recipe, indices, seed=seed)
  return train.train_networks(architecture, dataset, recipe, indices, seed=seed)


def _progress(shown: bool) -> rich.progress.Progress:
  """A bar with nets done, speed and time left."""
  return rich.progress.Progress(
    rich.progress.TextColumn('{task.description}'),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn('nets'),
    rich.progress.TimeElapsedColumn(),
    rich.progress.TimeRemainingColumn(),
    console=rich.console.Console(stderr=True),
    disable=not shown or not distributed.is_writer(),
  )


def _finish(path: pathlib.Path) -> store.Zoo:
  """Opens a published zoo; deletes the log once all weights are verified."""
  zoo = store.Zoo.open(path)
  if distributed.is_writer() and (path / _LOG).exists():
    zoo.check()
    # Empty, of a process that was killed behind its last rename.
    shutil.rmtree(path / publish.STAGING, ignore_errors=True)
    shutil.rmtree(path / _LOG)
  return zoo
