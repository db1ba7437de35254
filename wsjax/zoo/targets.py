"""Prediction targets of networks, read from their records."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.zoo import recipe
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

# Targets that are not hyper-parameters of the recipe.
NAMES = (
  'label', 'val_accuracy', 'train_accuracy', 'gap', 'optimizer', 'activation', 'algorithm', 'task',
  'score',
)  # fmt: skip
_COLUMNS = {
  'val_accuracy': 'final/val/accuracy',
  'train_accuracy': 'final/train/accuracy',
  'optimizer': 'optimizer/name',
  'activation': 'activation',
}
# Those of networks that are trained here.
OF_RECIPES = (
  *('label', 'val_accuracy', 'train_accuracy', 'gap', 'optimizer', 'activation', 'momentum'),
  *recipe.FACTORS,
)
_CLASSES = ('label', 'optimizer', 'activation', 'algorithm', 'task')


@dataclasses.dataclass(frozen=True, eq=False)
class Targets:
  """One target of some networks.

  Attributes:
    values: [n] int32 class numbers, or float32.
    kind: 'class' or 'number'.
    names: names of the classes, by number, equal for all networks of a zoo; () for numbers.
    scale: 'log10' if `values` are logarithms, else 'linear'.
  """

  values: np.ndarray
  kind: str
  names: tuple[str, ...] = ()
  scale: str = 'linear'


def load(
  zoo: store.Zoo,
  indices: Sequence[int] | np.ndarray,
  target: str,
  *,
  root: str | os.PathLike[str] | None = None,
) -> Targets:
  """Reads a target of some networks, in the order of their indices.

  Args:
    zoo: zoo of the networks.
    indices: [n] numbers of the networks.
    target: 'label', the class of the image that a network was fitted to; 'val_accuracy';
      'train_accuracy', a mean over the last epoch; 'gap', the difference of the two; 'optimizer';
      'activation'; of imported networks 'algorithm', 'task' and 'score', which compares within a
      task; or a hyper-parameter by its name, as a logarithm where recipes draw it log-uniformly.
    root: see `datasets.load`; for 'label' only.

  Raises:
    ValueError: if the zoo has no such target, one of these networks has none (see `known`), or a
      label cannot be verified.
  """
  indices = np.asarray(indices, np.int64)
  if target == 'label':
    try:
      classes, num_classes = image_classes([zoo.records[i] for i in indices.tolist()], root)
    except ValueError as error:
      raise ValueError(f'{zoo.path}: {error}') from error
    return Targets(classes, 'class', tuple(map(str, range(num_classes))))
  column = _column(zoo, target)
  if (missing := _is_missing(column[indices])).any():
    raise ValueError(
      f'{missing.sum()} of {len(indices)} networks of {zoo.path} have no '
      f'{target!r}, the first of them {zoo.keys[indices[missing][0]]!r}; '
      'targets.known gives those that have it.'
    )
  if column.dtype.kind == 'U':
    names = sorted(set(column.tolist()) - {''})
    numbers = np.searchsorted(names, column[indices])
    return Targets(numbers.astype(np.int32), 'class', tuple(names))
  values, scale = column[indices], 'linear'
  is_log = target in recipe.FACTORS and recipe.FACTORS[target].scale == 'log'
  if is_log and (column[~_is_missing(column)] > 0).all():
    values, scale = np.log10(values), 'log10'
  return Targets(values.astype(np.float32), 'number', scale=scale)


def is_number(target: str) -> bool | None:
  """Whether a target is a number and no class; None for one of other people's records."""
  if target in _CLASSES:
    return False
  return True if target in (*NAMES, *OF_RECIPES) else None


def known(zoo: store.Zoo, indices: Sequence[int] | np.ndarray, target: str) -> np.ndarray:
  """The networks, among those of some indices, that have a target of `load` other than 'label'.

  Raises:
    ValueError: if the zoo has no such target.
  """
  indices = np.asarray(indices, np.int64)
  return indices[~_is_missing(_column(zoo, target)[indices])]


def _column(zoo: store.Zoo, target: str) -> np.ndarray:
  """[all networks] strings, '' where unknown, or numbers, NaN likewise."""
  if target == 'gap':
    return _column(zoo, 'train_accuracy') - _column(zoo, 'val_accuracy')
  if target in ('algorithm', 'task', 'score'):
    details = [_detail(record).get(target) for record in zoo.records]
    if target == 'score':
      return np.array([np.nan if v is None else v for v in details], float)
    return np.array(['' if value is None else value for value in details])
  try:
    return zoo.column(_COLUMNS.get(target, f'optimizer/hparams/{target}'))
  except ValueError as error:
    raise ValueError(
      f'{zoo.path} has no target {target!r}; there are {", ".join(NAMES)} and '
      f'the hyper-parameters in its records: {error}'
    ) from error


def _detail(record: Mapping[str, Any]) -> Mapping[str, Any]:
  """Facts about an imported network, by its publisher."""
  for parent in record['parents']:
    if parent.get('external_ref'):
      return parent.get('detail') or {}
  return {}


def _is_missing(column: np.ndarray) -> np.ndarray:
  return column == '' if column.dtype.kind == 'U' else np.isnan(column)


def image_classes(
  records: Sequence[Mapping[str, Any]], root: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, int]:
  """Class [n] int32 of the one image that each network was fitted to, and the number of classes.

  The image is found by its digest in the record. Raises ValueError if a network was fitted to no
  single training image of a data set that is there as it was.
  """
  find: dict[str, dict[str, int]] = {}
  values = []
  for record in records:
    lineage = (record['datasets'] or [{'name': None}])[0]
    run_id, name = record['run_id'], lineage['name']
    if record['task'] != 'image_fitting' or name is None:
      raise ValueError(f'Network {run_id} was not fitted to one image, so it has no label.')
    if name not in find:
      find[name] = _image_classes(lineage, root)
    if (sha256 := lineage['subset_indices_sha256']) not in find[name]:
      raise ValueError(f'Network {run_id} was fitted to no single training image of {name}.')
    values.append(find[name][sha256])
  num_classes = max((1 + max(classes.values()) for classes in find.values()), default=0)
  return np.array(values, np.int32), num_classes


def _image_classes(
  lineage: Mapping[str, Any], root: str | os.PathLike[str] | None
) -> dict[str, int]:
  """Digest of every image of a source's training part -> its class.

  The digests are of places in the source, so no split has to be known.
  """
  dataset = datasets.load(lineage['name'], root, val_fraction=0)
  if dataset.sha256 != (expected := lineage['sha256']):
    found = f'{lineage["name"]} has digest {dataset.sha256}'
    raise ValueError(f'{found}; the zoo was trained on {expected}.')
  labels = zip(dataset.train_index.tolist(), dataset.train_y.tolist(), strict=True)
  return {datasets.index_digest(np.array([place])): label for place, label in labels}
