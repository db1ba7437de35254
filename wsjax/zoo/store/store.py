"""A published zoo: random access to networks whose digests are verified.

A zoo is built in a `Log` and published into a folder:

  manifest.json             SHA-256 of every other file; written last
  records.jsonl             one record per network, in the order of the keys
  records.parquet           the same as a table, with the `zoo` extra
  shards/00000.safetensors  networks of one architecture, stacked
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo import splits
from wsjax.zoo.store import catalogue, digest, safetensors_io, shards
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import record as record_lib

Entry = log_lib.Entry
Log = log_lib.Log


def publish(log: Log, path: pathlib.Path | str, *, shard_size: int = 1000) -> 'Zoo':
  """Publishes all entries of a log as a zoo, in the order of their keys.

  Interrupted at any point, it can be repeated: the log is only read.

  Args:
    log: with every network to publish.
    path: folder of the zoo; the log may be inside it.
    shard_size: networks per file.

  Returns:
    The zoo.

  Raises:
    ValueError: if the folder holds a zoo, or parts of one that did not come from an interrupted
      call; the log is empty or corrupt; or networks of
      one split group are in different splits.
    OSError: if a file cannot be written.
  """
  shards.publish(log, pathlib.Path(path), shard_size=shard_size)
  return Zoo.open(path)


class Zoo:
  """A published zoo; get one by `Zoo.open`.

  Attributes:
    path: its folder.
    digest: SHA-256 of the manifest, and so of everything.
    content_digest: SHA-256 of the weights alone.
    keys: one per network, sorted.
    records: one per network, in the same order; do not change them.
    architectures: every architecture in it, in order of appearance.
  """

  def __init__(
    self, path: pathlib.Path, manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
  ):
    self.path = path
    self.digest = digest.of_file(path / shards.MANIFEST)
    self.content_digest = manifest['content_digest']
    self.keys = [line['key'] for line in lines]
    self.records = [line['record'] for line in lines]
    descriptions, indices = catalogue.describe(lines)
    self.architectures = tuple(descriptions)
    self._architecture_of = np.array(indices)
    self._files = manifest['files']
    self._shard_names = sorted({line['shard'] for line in lines})
    numbers = {name: i for i, name in enumerate(self._shard_names)}
    self._shard_of = np.array([numbers[line['shard']] for line in lines])
    self._rows = np.array([line['row'] for line in lines])
    self._shards: dict[int, typing.StackedParams] = {}

  @classmethod
  def open(cls, path: pathlib.Path | str) -> 'Zoo':
    """Opens a folder; checks manifest, sizes and records.

    A shard is hashed when it is first read from.

    Raises:
      ValueError: one sentence naming what is missing, truncated, changed, of another version, or
        contradicts itself.
    """
    path = pathlib.Path(path)
    manifest = catalogue.read_manifest(path)
    catalogue.check_files(path, manifest)
    return cls(path, manifest, catalogue.read_lines(path, manifest))

  def __len__(self) -> int:
    return len(self.keys)

  def record(self, index: int) -> dict[str, Any]:
    """The record of one network."""
    return self.records[index]

  @property
  def description(self) -> catalogue.Description:
    """The architecture of a zoo that has only one, as its records have it.

    Raises:
      ValueError: if it has several.
    """
    if len(self.architectures) != 1:
      raise ValueError(
        f'{self.path} has {len(self.architectures)} architectures, not one; see `architectures`.'
      )
    return self.architectures[0]

  @property
  def spec(self) -> spec_lib.Spec:
    """Shapes and symmetries; raises as `description`."""
    return self.description.spec

  @functools.cached_property
  def architecture(self) -> model_lib.Model:
    """The forward function; raises as `description` and its `build`."""
    return self.description.build()

  def select(
    self,
    *,
    split: str | None = None,
    final: bool | None = True,
    diverged: bool | None = False,
    arch_id: str | None = None,
  ) -> np.ndarray:
    """Indices of networks; None for an argument means any.

    Args:
      split: one of splits.SPLITS.
      final: True for the last checkpoint of a run, False for earlier ones.
      diverged: False for networks that did not fail.
      arch_id: name of the architecture.

    Returns:
      [n] indices, increasing.

    Raises:
      ValueError: for an unknown split.
    """
    if split is not None and split not in splits.SPLITS:
      raise ValueError(f'Unknown split {split!r}; allowed: {", ".join(splits.SPLITS)}.')
    chosen = np.ones(len(self), bool)
    for name, wanted in (
      ('split', split),
      ('final', final),
      ('diverged', diverged),
      ('arch_id', arch_id),
    ):
      if wanted is not None:
        chosen &= self._index[name] == wanted
    return np.flatnonzero(chosen)

  def column(self, *names: str) -> np.ndarray:
    """One field of every record, as an array.

    Args:
      *names: of the field and of what is inside it: ('split',),
        ('optimizer', 'hparams', 'learning_rate'). For 'final' and 'trace' it is the split and the
        metric: ('final', 'val', 'accuracy'); of several values the last.

    Returns:
      [n] booleans, numbers (NaN where not known) or strings ('' likewise).

    Raises:
      ValueError: if records have no such field, or it holds no scalars.
    """
    return catalogue.column(self.records, names)

  def params(self, indices: Sequence[int] | np.ndarray) -> typing.StackedParams:
    """Weights of some networks, each compared with the digest in its record.

    Args:
      indices: [n] of one architecture, in any order, also repeated.

    Returns:
      path -> array [n, ...] in memory.

    Raises:
      ValueError: if there are no such networks or they have different architectures; or naming the
        file and the network that was changed, or is not finite although not marked diverged.
    """
    indices = np.asarray(indices)
    if indices.ndim != 1 or indices.dtype.kind not in 'iu' or not indices.size:
      raise ValueError(
        f'Zoo.params needs a list of indices; got shape {indices.shape} of {indices.dtype}.'
      )
    if indices.min() < 0 or indices.max() >= len(self):
      raise ValueError(
        f'{self.path} has {len(self)} networks; got indices from '
        f'{indices.min()} to {indices.max()}.'
      )
    kinds = np.unique(self._architecture_of[indices])
    if len(kinds) > 1:
      names = [self.architectures[kind].arch_id for kind in kinds]
      raise ValueError(
        f'Networks of {len(kinds)} architectures ({", ".join(names)}) cannot '
        'be stacked; select those of one.'
      )
    description = self.architectures[kinds[0]]
    stacked = {
      leaf.path: np.empty((len(indices), *leaf.shape), np.dtype(description.dtypes[leaf.path]))
      for leaf in description.spec.leaves
    }
    numbers = self._shard_of[indices]
    for number in np.unique(numbers):
      places = np.flatnonzero(numbers == number)
      rows = self._rows[indices[places]]
      shard = self._shard(int(number), description, rows)
      for path in stacked:
        stacked[path][places] = shard[path][rows]
    self._verify(indices, stacked)
    return stacked

  def check(self) -> None:
    """Reads and verifies everything; raises ValueError as `params` does."""
    for key, record in zip(self.keys, self.records, strict=True):
      try:
        record_lib.validate(record)
      except ValueError as error:
        raise ValueError(f'{self.path / shards.RECORDS} net {key!r} is broken: {error}') from error
    order = np.lexsort((self._rows, self._architecture_of, self._shard_of))
    kinds = np.stack([self._shard_of, self._architecture_of])[:, order]
    ends = np.flatnonzero((np.diff(kinds) != 0).any(axis=0)) + 1
    for indices in np.split(order, ends):
      self.params(indices)

  @functools.cached_property
  def _index(self) -> dict[str, np.ndarray]:
    """Columns that networks are selected by."""
    return catalogue.index(self.records)

  def _shard(
    self, number: int, description: catalogue.Description, rows: np.ndarray
  ) -> typing.StackedParams:
    """Memory-mapped arrays of a shard, verified when first asked for."""
    file = self.path / self._shard_names[number]
    if number not in self._shards:
      sha256 = self._files[self._shard_names[number]]['sha256']
      catalogue.check_digest(file, sha256)
      self._shards[number] = safetensors_io.open_mapped(file)[0]
    shard = self._shards[number]
    try:
      description.spec.check(shard, stacked=True)
      for path, dtype in description.dtypes.items():
        if shard[path].dtype.name != dtype:
          raise ValueError(f'{path} is {shard[path].dtype}, not {dtype}.')
        if len(shard[path]) <= rows.max() or rows.min() < 0:
          raise ValueError(f'{path} has {len(shard[path])} rows.')
    except ValueError as error:
      raise ValueError(f'{file} does not fit the records of its networks: {error}') from error
    return shard

  def _verify(self, indices: np.ndarray, stacked: typing.StackedParams) -> None:
    """Raises ValueError unless every network is the one of its record."""
    finite = np.ones(len(indices), bool)
    for array in stacked.values():
      if array.dtype.kind not in 'iub':
        finite &= np.isfinite(array.reshape(len(indices), -1)).all(axis=1)
    for place, found in enumerate(digest.of_stacked(stacked)):
      record = self.records[indices[place]]
      if found != record['tensor_digest']:
        self._refuse(indices[place], 'was changed: its weights have another '
                     'digest than its record')  # fmt: skip
      if not (finite[place] or record['diverged']):
        self._refuse(indices[place], 'has NaN or infinite weights but is not marked diverged')

  def _refuse(self, index: int, problem: str) -> None:
    file = self.path / self._shard_names[self._shard_of[index]]
    raise ValueError(f'{file} net {self.keys[index]!r} {problem}.')
