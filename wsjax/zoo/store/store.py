"""Zoo: networks with records, in memory or in a folder whose digests are verified.

A zoo is built in a `Log` and published into a folder:

  manifest.json             SHA-256 of every other file; written last
  records.jsonl             one record per network, in the order of the keys
  records.parquet           the records as a table, with the `zoo` extra
  shards/00000.safetensors  networks of one architecture, stacked
"""

import contextlib
import dataclasses
import functools
import gc
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import columns, digest, published
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import record as record_lib

Entry = log_lib.Entry
Block = log_lib.Block
Log = log_lib.Log
_Read = Callable[[np.ndarray], typing.StackedParams]
# Fields that `record.make` sets.
_OF_THE_RECORD = ('schema_version', 'created_at', *record_lib.UNSIGNED)
_CHECKED = 4096  # Networks that are in memory at once while a zoo is checked.


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
  """A model as records describe it.

  Attributes:
    arch_id: plug-in of `wsjax.models`, or somebody else's name.
    arch_config: its fields.
    activation: name of the non-linearity; None where it is not known.
    spec: shapes and symmetries.
    dtypes: path -> dtype name.
  """

  arch_id: str
  arch_config: Mapping[str, Any]
  activation: str | None
  spec: spec_lib.Spec
  dtypes: Mapping[str, str]

  def build(self) -> model_lib.Model:
    """Builds the model; raises ValueError if no plug-in has that name."""
    return model_lib.from_record(self.arch_id, self.arch_config)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
  """Turns the garbage collector off while thousands of records are made, which have no cycles.

  They make it run often, and walking all objects of JAX each time takes a third of an import.
  """
  if not gc.isenabled():  # Somebody else's decision.
    yield
    return
  gc.disable()
  try:
    yield
  finally:
    gc.enable()


def publish(log: Log, path: pathlib.Path | str, *, shard_size: int = 1000) -> 'Zoo':
  """Publishes all entries of a log as a zoo, in the order of their keys.

  Interrupted at any point, it can be repeated: the log is only read. It may be inside the folder.

  Raises:
    ValueError: if the folder holds a zoo, or parts of one that did not come from an interrupted
      call; the log is empty or corrupt; or networks of one split group are in different splits.
    OSError: if a file cannot be written.
  """
  blocks = (
    Block([entry.key], {p: x[None] for p, x in entry.params.items()}, [entry.record], [text])
    for entry, text in map(log.read, log.keys())
  )
  published.write(blocks, pathlib.Path(path), shard_size=shard_size)
  return Zoo.open(path)


class Zoo:
  """Networks with records; made by `Zoo.open` or `Zoo.of`.

  Attributes:
    keys: one per network.
    records: one per network, in the same order; do not change them.
    architectures: every architecture in it, in order of appearance.
    path: its folder; None in memory.
    digest: SHA-256 of the manifest, and so of everything; in memory of the ids of the records.
    content_digest: SHA-256 of the weights alone.
  """

  def __init__(
    self,
    keys: Sequence[str],
    records: Sequence[dict[str, Any]],
    read: _Read,
    *,
    model: model_lib.Model | None = None,
    shards: published.Shards | None = None,
  ):
    self.keys = list(keys)
    self.records = published.share(records)
    self.architectures, self._architecture_of = _describe(self.keys, self.records)
    self.path: pathlib.Path | None = None
    self._read = read
    self._model = model
    self._shards = shards
    if model is not None:
      for description in self.architectures:
        _check_model(model, description)

  @classmethod
  def open(cls, path: pathlib.Path | str, *, model: model_lib.Model | None = None) -> 'Zoo':
    """Opens a folder; checks manifest, sizes and records, and each shard when it is first read.

    The model of its networks is needed where it is not one of `wsjax.models`.

    Raises:
      ValueError: naming what is missing, truncated, changed, of another version, or contradicts
        itself; or if `model` has other parameters.
    """
    path = pathlib.Path(path)
    manifest = published.read_manifest(path)
    published.check_files(path, manifest)
    with no_collections():
      return cls._published(path, manifest, published.read_lines(path, manifest), model)

  @classmethod
  def publish(
    cls,
    blocks: Iterable[Block],
    path: pathlib.Path,
    *,
    shard_size: int = 1000,
    model: model_lib.Model | None = None,
  ) -> 'Zoo':
    """Publishes networks block by block, and opens the folder without reading it again.

    Args:
      blocks: networks, with valid records and their canonical JSON.
      path: folder of the zoo, which is there.
      shard_size: networks per file.
      model: of the networks.

    Raises:
      ValueError: as the function `publish`, or from `blocks`; nothing is published then.
    """
    with no_collections():
      manifest, lines = published.write(blocks, path, shard_size=shard_size, keep=True)
      return cls._published(path, manifest, lines, model)

  @classmethod
  def _published(
    cls,
    path: pathlib.Path,
    manifest: Mapping[str, Any],
    lines: Sequence[dict[str, Any]],
    model: model_lib.Model | None,
  ) -> 'Zoo':
    """The zoo of a folder whose manifest and lines of records are known."""
    shards = published.Shards(path, manifest, lines)

    # Not the zoo itself: it would refer to itself, and stay in memory until a full collection.
    described: list[tuple[tuple[Description, ...], np.ndarray]] = []

    def read(indices: np.ndarray) -> typing.StackedParams:
      architectures, places = described[0]
      description = architectures[places[indices[0]]]
      return shards.read(indices, description.spec, description.dtypes)

    keys, records = ([line[name] for line in lines] for name in ('key', 'record'))
    try:
      zoo = cls(keys, records, read, model=model, shards=shards)
    except ValueError as error:
      raise ValueError(f'{path / published.RECORDS} {error}') from error
    described.append((zoo.architectures, zoo._architecture_of))
    zoo.path = path
    zoo.digest = digest.of_file(path / published.MANIFEST)
    zoo.content_digest = manifest['content_digest']
    return zoo

  @classmethod
  def of(
    cls,
    model: model_lib.Model,
    params: Any,
    records: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | None = None,
  ) -> 'Zoo':
    """Makes a zoo in memory.

    Args:
      model: of the networks.
      params: `Networks`; stacked parameters, path -> [n, ...] or in the form of the model's
        library; or a list of networks, each in either form.
      records: facts about each network, as n mappings or as name -> [n] values: fields of the
        checkpoint record, such as 'split' ('train' if not given) or 'run_id'; 'optimizer' may be
        its name; 'accuracy' and 'loss' are of a val split; any other scalar is kept under its name.

    Raises:
      ValueError: if parameters do not fit the model, or a record is not valid.
    """
    nets = networks_lib.Networks(_stack(model, params), model.spec).check().host()
    rows = _rows(records, len(nets))
    common = record_lib.prepare(record_lib.UNKNOWN | record_lib.describe_model(model, nets[0]))
    keys = [f'{index:08d}' for index in range(len(nets))]
    made, _ = record_lib.of_given(common, nets.params, rows, task=model.task, run_ids=keys)
    record_lib.check_splits([r['split_group'] for r in made], [r['split'] for r in made])
    return cls(keys, made, lambda indices: nets[indices].params, model=model)

  def rename(self, path: pathlib.Path | str) -> 'Zoo':
    """Moves the folder of the zoo; raises OSError as `os.rename`, ValueError if it has none."""
    if self.path is None or self._shards is None:
      raise ValueError(f'{self!r} is in memory; save it.')
    path = pathlib.Path(path)
    self.path.rename(path)
    self.path = self._shards.path = path
    return self

  def __len__(self) -> int:
    return len(self.keys)

  def __repr__(self) -> str:
    names = ', '.join(description.arch_id for description in self.architectures)
    return f'Zoo({len(self)} networks of {names}{f" in {self.path}" if self.path else ""})'

  @functools.cached_property
  def digest(self) -> str:
    """SHA-256 of the ids of all records."""
    return digest.of_json([record['record_id'] for record in self.records])

  @functools.cached_property
  def content_digest(self) -> str:
    """SHA-256 of the digests of all weights."""
    text = ''.join(record['tensor_digest'] for record in self.records)
    return hashlib.sha256(text.encode()).hexdigest()

  @property
  def description(self) -> Description:
    """The one model of a zoo, as its records have it; raises ValueError if it has several."""
    if len(self.architectures) != 1:
      found = f'{self.path or "The zoo"} has {len(self.architectures)} architectures'
      raise ValueError(f'{found}, not one; see `architectures`.')
    return self.architectures[0]

  @property
  def spec(self) -> spec_lib.Spec:
    """Shapes and symmetries; raises ValueError for several models."""
    return self.description.spec

  @functools.cached_property
  def model(self) -> model_lib.Model:
    """The model that was given or recorded; ValueError for several or none of `wsjax.models`."""
    return self._model or self.description.build()

  def select(
    self,
    *,
    split: str | None = None,
    final: bool | None = True,
    diverged: bool | None = False,
    arch_id: str | None = None,
    architecture: Description | None = None,
  ) -> np.ndarray:
    """Returns the indices [n] of networks, increasing; None for an argument means any.

    Args:
      split: one of `record.SPLITS`, else ValueError.
      final: True for the last checkpoint of a run, False for earlier ones.
      diverged: False for networks that did not fail.
      arch_id: name of the architecture.
      architecture: one of `architectures`.
    """
    if split is not None and split not in record_lib.SPLITS:
      raise ValueError(f'Unknown split {split!r}; allowed: {", ".join(record_lib.SPLITS)}.')
    chosen = np.ones(len(self), bool)
    wanted = {'split': split, 'final': final, 'diverged': diverged, 'arch_id': arch_id}
    for name, value in wanted.items():
      if value is not None:
        chosen &= self._index[name] == value
    if architecture is not None:
      chosen &= self._architecture_of == self.architectures.index(architecture)
    return np.flatnonzero(chosen)

  def networks(
    self, split: str | None = None, *, final: bool | None = True, diverged: bool | None = False
  ) -> networks_lib.Networks:
    """Reads the networks that `select` finds; raises ValueError if there are none."""
    rows = self.select(split=split, final=final, diverged=diverged)
    if not rows.size:
      raise ValueError(f'{self!r} has no such networks of split {split!r}.')
    return networks_lib.Networks(self.params(rows), self.spec)

  def column(self, *names: str) -> np.ndarray:
    """One field of every record: [n] booleans, numbers (NaN: unknown) or strings ('': unknown).

    Args:
      *names: of the field and its parts, also joined by slashes: 'split',
        'optimizer/hparams/learning_rate', 'final/val/accuracy'; of several values the last.

    Raises:
      ValueError: if records have no such field, or it holds no scalars.
    """
    return columns.column(self.records, names)

  def query(self, condition: str) -> 'Zoo':
    """Returns the networks whose records meet a condition, else raises ValueError.

    The condition is one of `columns.matches`, such as 'accuracy > 0.9 and optimizer == "adam"'.
    """
    rows = np.flatnonzero(columns.matches(self.records, condition))
    if not rows.size:
      raise ValueError(f'No network of {self!r} meets {condition!r}.')
    return self.subset(rows)

  def with_model(self, model: model_lib.Model) -> 'Zoo':
    """Says which model the networks are of; raises ValueError if it has other parameters."""
    for description in self.architectures:
      _check_model(model, description)
    self._model = model
    return self

  def subset(self, rows: Sequence[int] | np.ndarray) -> 'Zoo':
    """Returns the networks at some indices [m], as a zoo that reads from this one."""
    rows = self._indices(rows)
    return Zoo(
      [self.keys[row] for row in rows],
      [self.records[row] for row in rows],
      lambda indices: self.params(rows[indices]),
      model=self._model,
    )

  def canonicalize(
    self,
    mode: str = 'permutation+scale',
    *,
    reference: typing.Params | None = None,
    restarts: int = 3,
    seed: int = 0,
  ) -> 'Zoo':
    """Replaces every network by the representative of its orbit, in memory.

    Arguments and errors are those of `canonicalize.canonicalize`; the reference is the first
    training network if it is None.
    """
    params = self.params(np.arange(len(self)))
    if reference is None:
      train = self.select(split='train')
      first = train[0] if train.size else 0
      reference = {path: value[first] for path, value in params.items()}
    moved: typing.StackedParams = dict(
      self.spec.canonicalize(params, mode, reference=reference, restarts=restarts, seed=seed)
    )
    nets = networks_lib.Networks(moved, self.spec)
    made = []
    for net, old in zip(nets, self.records, strict=True):
      parent = {'record_id': old['record_id'], 'relation': 'canonicalised_from'}
      changed = record_lib.describe_params(net) | {
        'parents': [*old['parents'], {**parent, 'detail': {'mode': mode}}]
      }
      kept = {name: old[name] for name in old if name not in _OF_THE_RECORD}
      made.append(record_lib.make(**kept | changed))
    return Zoo(self.keys, made, lambda rows: nets[rows].params, model=self._model)

  def save(self, path: pathlib.Path | str, *, shard_size: int = 1000) -> 'Zoo':
    """Publishes the zoo in a folder and opens it; arguments and errors are those of `publish`."""
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    return Zoo.publish(self._blocks(shard_size), path, shard_size=shard_size, model=self._model)

  def extract(self, rows: np.ndarray, path: pathlib.Path, *, shard_size: int = 1000) -> 'Zoo':
    """`subset(rows).save(path)`, rows in rising order, of a folder that was just published.

    Weights are compared with their digests once, and records copied as they are spelled there.
    """
    folder = self.path
    if folder is None:
      raise ValueError(f'{self!r} is in memory; save it.')
    path.mkdir(parents=True, exist_ok=True)
    head, tail = b'"record":', b',"row":'

    def blocks() -> Iterator[Block]:
      with open(folder / published.RECORDS, 'rb') as file:
        lines = enumerate(file)
        for part in self._parts(rows, shard_size):
          wanted = set(part.tolist())
          texts: list[bytes] = []
          while len(texts) < len(part):
            row, line = next(lines)
            if row in wanted:
              texts.append(line[line.index(head) + len(head) : line.rindex(tail)])
          records = [self.records[row] for row in part]
          yield Block([self.keys[row] for row in part], self.params(part), records, texts)

    return Zoo.publish(blocks(), path, shard_size=shard_size, model=self._model)

  def _parts(self, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows in their order, at most `size` of one architecture at once."""
    starts = np.flatnonzero(np.diff(self._architecture_of[rows], prepend=-1))
    for part in np.split(rows, starts[1:]):
      yield from (part[start : start + size] for start in range(0, len(part), size))

  def _blocks(self, size: int) -> Iterator[Block]:
    """The networks in their order, at most `size` of one architecture at once."""
    for part in self._parts(np.arange(len(self)), size):
      params, records = self.params(part), [self.records[row] for row in part]
      texts = record_lib.validate_all(records)
      record_lib.check_stacked(records, params)
      yield Block([self.keys[row] for row in part], params, records, texts)

  def params(self, indices: Sequence[int] | np.ndarray) -> typing.StackedParams:
    """Reads weights path -> [n, ...] of networks of one architecture, in any order, also repeated.

    Those of a folder are compared with their digests.

    Raises:
      ValueError: if there are no such networks or they have different architectures; or naming the
        file and the network that was changed, or is not finite although not marked diverged.
    """
    indices = self._indices(indices)
    kinds = np.unique(self._architecture_of[indices])
    if len(kinds) > 1:
      names = [self.architectures[kind].arch_id for kind in kinds]
      given = f'{len(kinds)} architectures ({", ".join(names)})'
      raise ValueError(f'Networks of {given} cannot be stacked; select those of one.')
    return self._read(indices)

  def check(self) -> None:
    """Reads and verifies everything; raises ValueError as `params` does."""
    for key, record in zip(self.keys, self.records, strict=True):
      try:
        record_lib.validate(record)
      except ValueError as error:
        raise ValueError(f'{self.path or "The zoo"}: net {key!r} is broken: {error}') from error
    order = self._shards.order() if self._shards else np.arange(len(self))
    for start in range(0, len(order), _CHECKED):
      part = order[start : start + _CHECKED]
      for kind in np.unique(self._architecture_of[part]):
        self.params(part[self._architecture_of[part] == kind])

  @functools.cached_property
  def _index(self) -> dict[str, np.ndarray]:
    """Columns that networks are selected by."""
    names = ('split', 'arch_id', 'diverged')
    columns = {name: np.array([r[name] for r in self.records]) for name in names}
    # A checkpoint that belongs to no run of known length is not a snapshot.
    final = [None in (r['step'], r['steps']) or r['step'] == r['steps'] for r in self.records]
    return columns | {'final': np.array(final)}

  def _indices(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Checks indices [n] of networks."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or indices.dtype.kind not in 'iu' or not indices.size:
      given = f'shape {indices.shape} of {indices.dtype}'
      raise ValueError(f'A zoo needs a list of indices; got {given}.')
    if indices.min() < 0 or indices.max() >= len(self):
      given = f'indices from {indices.min()} to {indices.max()}'
      raise ValueError(f'{self!r} has {len(self)} networks; got {given}.')
    return indices


def _describe(
  keys: Sequence[str], records: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Description, ...], np.ndarray]:
  """Architectures of a zoo, and the position [n] of the one that every network has."""
  descriptions: list[Description] = []
  indices: list[int] = []
  numbers: dict[Any, int] = {}
  parts = ('arch_config', 'param_tree', 'symmetry')
  for key, record in zip(keys, records, strict=True):
    # `published.share` makes equal values one object.
    identity = (record['arch_id'], *(id(record[name]) for name in parts), record['activation'])
    if identity not in numbers:
      numbers[identity] = len(descriptions)
      try:
        spec = record_lib.spec(record)
      except ValueError as error:
        raise ValueError(f'net {key!r} has a broken architecture: {error}') from error
      dtypes = {leaf['path']: leaf['dtype'] for leaf in record['param_tree']}
      descriptions.append(
        Description(record['arch_id'], record['arch_config'], record['activation'], spec, dtypes)
      )
    indices.append(numbers[identity])
  return tuple(descriptions), np.array(indices)


def _check_model(model: model_lib.Model, description: Description) -> None:
  """Raises ValueError unless a model has the parameters that records describe."""
  shapes = {leaf.path: leaf.shape for leaf in description.spec.leaves}
  own = {path: tuple(struct.shape) for path, struct in model.shapes.items()}
  if own != shapes:
    different = sorted(set(own.items()) ^ set(shapes.items()))[0][0]
    found = f'{different} of shape {own.get(different)}'
    raise ValueError(
      f'the model {model.name} has {found}; the records say {shapes.get(different)}.'
    )


def _stack(model: model_lib.Model, params: Any) -> typing.StackedParams:
  """Parameters of many networks as path -> [n, ...]; see `Zoo.of`."""
  if isinstance(params, networks_lib.Networks):
    return params.params
  names = set(model.shapes)

  def named(tree: Any) -> typing.Params:
    is_named = isinstance(tree, Mapping) and set(tree) == names
    return dict(tree) if is_named else model.flatten(tree)

  if isinstance(params, list | tuple):
    nets = [jax.device_get(named(tree)) for tree in params]
    if not nets:
      raise ValueError('A zoo needs at least one network.')
    return {path: np.stack([np.asarray(net[path]) for net in nets]) for path in nets[0]}
  return named(params)


def _rows(records: Any, count: int) -> list[dict[str, Any]]:
  """One mapping per network from `records` of `Zoo.of`."""
  if records is None:
    return [{} for _ in range(count)]
  if isinstance(records, Mapping):
    lengths = {name: len(values) for name, values in records.items()}
    if set(lengths.values()) != {count}:
      raise ValueError(f'Columns of records need {count} values each; got {lengths}.')
    records = [dict(zip(records, row, strict=True)) for row in zip(*records.values(), strict=True)]
  rows = [dict(row) for row in records]
  if len(rows) != count:
    raise ValueError(f'There are {count} networks and {len(rows)} records.')
  return rows
