"""A published zoo, written and read: manifest, records, shards of weights.

A folder with a manifest is a zoo; without one it is nothing yet. Everything is made in a folder of
its own and renamed into place, the manifest last.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from wsjax import background, files, networks, typing
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import columns, digest, safetensors_io
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import record as record_lib

FORMAT = 'wsjax-zoo'
VERSION = '1.0.0'
MANIFEST = 'manifest.json'
RECORDS = 'records.jsonl'
TABLE = 'records.parquet'
SHARDS = 'shards'
STAGING = '.publishing'

# Networks that agree in these share shards.
ARCHITECTURE = ('arch_id', 'arch_config', 'param_tree')

# Fields that are alike in most records of a zoo; one copy is kept in memory.
SHARED = (
  'arch_config', 'param_tree', 'symmetry', 'packages', 'code', 'accelerator', 'datasets',
  'attribution', 'xla_flags',
)  # fmt: skip
_NUM_COPIES = 16
_MANIFEST = {
  'type': 'object',
  'required': ['schema_version', 'num_nets', 'content_digest', 'files', 'sha256'],
  'properties': {
    'schema_version': {'const': VERSION},
    'num_nets': {'type': 'integer', 'minimum': 1},
    'content_digest': {'type': 'string', 'minLength': 1},
    'files': {
      'type': 'object',
      'required': [RECORDS],
      'additionalProperties': {
        'type': 'object',
        'required': ['bytes', 'sha256'],
        'properties': {'bytes': {'type': 'integer'}, 'sha256': {'type': 'string'}},
      },
    },
  },
}
# Types of the fields that are read before a record is validated.
_TYPES = {
  **dict.fromkeys(('arch_id', 'split', 'split_group', 'run_id', 'tensor_digest'), str),
  **dict.fromkeys(('final', 'trace', 'datasets', 'parents'), list),
  **dict.fromkeys(('optimizer', 'seed'), dict | None),
  **dict.fromkeys(('step', 'steps'), int | None),
  'arch_config': dict,
  'activation': str | None,
  'diverged': bool,
}


def is_zoo(path: pathlib.Path | str) -> bool:
  """Whether a folder holds a published zoo; `check_files` says whether it is whole."""
  return (pathlib.Path(path) / MANIFEST).exists()


def write(
  blocks: Iterable[log_lib.Block], path: pathlib.Path, *, shard_size: int, keep: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Writes a zoo folder; see `store.publish`.

  Args:
    blocks: networks whose records are those of their weights; two shards of each architecture are
      in memory.
    path: of the folder.
    shard_size: networks per file.
    keep: whether records stay in memory.

  Returns:
    The manifest and, if `keep`, what `read_lines` gives.
  """
  if shard_size < 1:
    raise ValueError(f'A shard holds at least one network; got {shard_size}.')
  if (path / MANIFEST).exists():
    raise ValueError(f'{path} holds a published zoo; it is never overwritten.')
  staging = path / STAGING
  parts = (SHARDS, RECORDS, TABLE, MANIFEST)
  if (staging / MANIFEST).exists():
    # Interrupted between two renames: what is in place came from here.
    for part in parts:
      _remove(path / part)
  if found := [part for part in parts if (path / part).exists()]:
    advice = 'restore the manifest, or publish to another folder'
    raise ValueError(f'{path} holds {found[0]} but no {MANIFEST}; {advice}.')
  _remove(staging)
  (staging / SHARDS).mkdir(parents=True)
  try:
    written = _write(blocks, staging, shard_size, keep)
  except OSError as error:
    _remove(staging)  # The disk may be full of it.
    raise OSError(error.errno, f'{path} was not published, the log is intact: {error}') from error
  except ValueError:  # What was to be published could not be read.
    _remove(staging)
    raise
  for part in parts:
    if (staging / part).exists():
      os.replace(staging / part, path / part)
      safetensors_io.sync_folder(path)
  staging.rmdir()
  return written


def manifest_text(manifest: Mapping[str, Any]) -> str:
  """The text of a manifest, with the digest of its other fields."""
  fields = {name: manifest[name] for name in manifest if name != 'sha256'}
  fields['sha256'] = digest.of_json(fields)
  return json.dumps(fields, indent=2, sort_keys=True) + '\n'


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def _write(
  blocks: Iterable[log_lib.Block], folder: pathlib.Path, shard_size: int, keep: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Writes all files of a zoo into an empty folder; returns what `write` does."""
  table = _Table()
  kept = []
  digests, sha256 = hashlib.sha256(), hashlib.sha256()
  with (
    open(folder / RECORDS, 'wb') as lines,
    background.Worker() as lines_worker,
    background.Worker() as shard_worker,
  ):

    def append(text: bytes) -> None:
      lines.write(text)
      sha256.update(text)

    shards = _ShardWriter(folder, shard_size, shard_worker)
    for block in blocks:
      for part, shard, first in shards.add(block):
        # The record is spelled already; 'key', 'record', 'row', 'shard' is their canonical order.
        line = b'{"key":%%b,"record":%%b,"row":%%d,"shard":%b}\n' % digest.canonical_json(shard)
        rows = range(first, first + len(part.keys))
        places = zip(map(_spelled, part.keys), part.texts, rows, strict=True)
        lines_worker.submit(append, b''.join([line % place for place in places]))
        table.add(part, shard, first)
        digests.update(''.join(r['tensor_digest'] for r in part.records).encode())
        if keep:
          kept += [
            {'key': key, 'row': row, 'shard': shard, 'record': record}
            for row, (key, record) in enumerate(zip(part.keys, part.records, strict=True), first)
          ]
    sums = shards.finish()
    lines_worker.wait()
    lines.flush()
    os.fsync(lines.fileno())
  if not table.count:
    raise ValueError(f'{folder.parent} is not published: it would be empty.')
  values = table.columns()
  record_lib.check_splits(values['split_group'], values['split'])
  _write_table(values, folder / TABLE)
  sums[RECORDS] = sha256.hexdigest()
  if (folder / TABLE).exists():
    sums[TABLE] = digest.of_file(folder / TABLE)
  manifest = {
    'format': FORMAT,
    'schema_version': VERSION,
    'num_nets': table.count,
    'splits': {split: values['split'].count(split) for split in record_lib.SPLITS},
    # Of the weights alone: two zoos of one config share it, although their records differ in time
    # and place.
    'content_digest': digests.hexdigest(),
    'files': {
      name: {'bytes': (folder / name).stat().st_size, 'sha256': sha256}
      for name, sha256 in sums.items()
    },
  }
  safetensors_io.sync_folder(folder / SHARDS)
  text = manifest_text(manifest)
  with open(folder / MANIFEST, 'w') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  safetensors_io.sync_folder(folder)
  return json.loads(text), kept


def _spelled(key: str) -> bytes:
  """Canonical JSON of a key, most of which spell themselves."""
  return b'"%s"' % key.encode() if log_lib.KEY.fullmatch(key) else digest.canonical_json(key)


class _ShardWriter:
  """Fills shards, one of each architecture at a time, and writes them while others are filled."""

  def __init__(self, folder: pathlib.Path, size: int, worker: background.Worker):
    self._folder = folder
    self._size = size
    # Architecture -> name of the shard that is being filled, and its parts.
    self._pending: dict[str, tuple[str, list[typing.StackedParams]]] = {}
    self._identities: dict[tuple[int, ...], tuple[str, Any]] = {}
    self._count = 0
    self._worker = worker
    self._sums: dict[str, str] = {}  # File -> SHA-256.

  def add(self, block: log_lib.Block) -> Iterator[tuple[log_lib.Block, str, int]]:
    """Yields parts of a block, each with its shard and the row of its first network."""
    identity = self._identity(block.records[0])
    start = 0
    while start < len(block.keys):
      if identity not in self._pending:
        self._pending[identity] = f'{SHARDS}/{self._count:05d}.safetensors', []
        self._count += 1
      shard, parts = self._pending[identity]
      first = sum(networks.length(part) for part in parts)
      rows = slice(start, start + self._size - first)
      part = log_lib.Block(
        block.keys[rows],
        {path: array[rows] for path, array in block.params.items()},
        block.records[rows],
        block.texts[rows],
      )
      parts.append(part.params)
      yield part, shard, first
      start += len(part.keys)
      if first + len(part.keys) == self._size:
        self._write(*self._pending.pop(identity))

  def finish(self) -> dict[str, str]:
    """Writes what is left; returns the digest of every shard."""
    for shard, parts in self._pending.values():
      self._write(shard, parts)
    self._worker.wait()
    return self._sums

  def _identity(self, record: Mapping[str, Any]) -> str:
    """The architecture of a record."""
    parts = [record[name] for name in ARCHITECTURE]
    same = tuple(map(id, parts))  # Records that were made together share these.
    if same not in self._identities:
      self._identities[same] = json.dumps(parts), parts
      if len(self._identities) > _NUM_COPIES:
        del self._identities[next(iter(self._identities))]
    return self._identities[same][0]

  def _write(self, name: str, parts: Sequence[typing.StackedParams]) -> None:
    """Writes a shard in another thread, after the one before it."""

    def write() -> None:
      stacked = parts[0]
      if len(parts) > 1:
        stacked = {path: np.concatenate([part[path] for part in parts]) for path in stacked}
      count = {'num_nets': networks.length(stacked)}
      self._sums[name] = safetensors_io.save(self._folder / name, stacked, count)

    self._worker.submit(write)


class _Table:
  """Records as columns, filled block by block."""

  def __init__(self) -> None:
    self.count = 0
    self._columns: dict[str, list[Any]] = {}

  def add(self, block: log_lib.Block, shard: str, first: int) -> None:
    """Adds the records of a block, whose networks lie in a shard from a row on."""
    size = len(block.keys)
    place = {'key': block.keys, 'row': list(range(first, first + size)), 'shard': [shard] * size}
    for name, values in (place | columns.table(block.records)).items():
      column = self._columns.setdefault(name, [])
      column.extend([None] * (self.count - len(column)))
      column.extend(values)
    self.count += size

  def columns(self) -> dict[str, list[Any]]:
    """Name -> one value for each network, None where there is none."""
    for column in self._columns.values():
      column.extend([None] * (self.count - len(column)))
    return self._columns


def _write_table(values: Mapping[str, list[Any]], path: pathlib.Path) -> None:
  """Writes the records as Parquet, if the `zoo` extra is installed."""
  try:
    import pyarrow  # Large, and not everyone has it.
    from pyarrow import parquet
  except ImportError:
    text = "No records.parquet beside the zoo: it needs pyarrow; pip install 'wsjax[zoo]'."
    logging.log_first_n(logging.WARNING, text, 1)
    return
  table = {}
  for name in sorted(values):
    column, first = values[name], values[name][0]
    if type(first) in (str, type(None)) and column.count(first) == len(column):
      table[name] = pyarrow.repeat(pyarrow.scalar(first), len(column))  # Most are alike in all.
    else:
      table[name] = pyarrow.array(_one_type(column))
  with open(path, 'wb') as file:  # Arrow itself reads more into a path than the file system does.
    parquet.write_table(pyarrow.table(table), file)


def _one_type(values: list[Any]) -> list[Any]:
  """A column of mixed types as text; numbers together are one type."""
  kinds = {*map(type, values)} - {type(None)}
  if kinds == {int, float}:
    return [None if value is None else float(value) for value in values]
  if len(kinds) > 1:
    return [None if value is None else str(value) for value in values]
  return values


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
  """Reads a manifest; ValueError if it is missing, broken, changed, or of another version."""
  file = path / MANIFEST
  if not file.is_file():
    raise ValueError(f'{path} has no {MANIFEST}: it is not a published zoo.')
  content = files.read_bytes(file)
  manifest = files.parse_json(content, file, schema=_MANIFEST)
  for name in manifest['files']:
    place = pathlib.PurePosixPath(name)
    if place.is_absolute() or '..' in place.parts or '\0' in name:
      raise ValueError(f'{file} lists {name!r}, which is not inside the zoo.')
  if manifest_text(manifest).encode() != content:
    raise ValueError(f'{file} was changed: it does not match its own digest.')
  return manifest


def check_files(path: pathlib.Path, manifest: Mapping[str, Any]) -> None:
  """Raises ValueError unless every file is there and whole; hashes all but the shards."""
  for name, file in manifest['files'].items():
    if not (path / name).is_file():
      raise ValueError(f'{path} lacks {name!r}, which its manifest lists.')
    if (size := (path / name).stat().st_size) != file['bytes']:
      raise ValueError(f'{path / name} is {size} bytes long; the manifest says {file["bytes"]}.')
    if not name.startswith(f'{SHARDS}/'):
      _check_digest(path / name, file['sha256'])


def read_lines(path: pathlib.Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Reads records.jsonl: per network 'key', 'record', 'shard' and 'row'.

  Raises ValueError, naming the first network whose line is broken or whose record is of another
  version, lacks a field, or is in no shard.
  """
  file = path / RECORDS
  lines = []
  for number, text in enumerate(files.read_bytes(file, max_bytes=1 << 34).splitlines(), 1):
    name = f'{file} line {number}'
    line = digest.parse_json(text, name)
    if not isinstance(line, dict) or not isinstance(line.get('key'), str):
      raise ValueError(f'{name} is no object with the key of a network.')
    name = f'{file} net {line["key"]!r}'
    try:
      _check_line(line, manifest)
    except ValueError as error:
      raise ValueError(f'{name} is broken: {error}') from error
    lines.append(line)
  if len(lines) != manifest['num_nets']:
    raise ValueError(f'{file} has {len(lines)} records; the manifest says {manifest["num_nets"]}.')
  records = [line['record'] for line in lines]
  record_lib.check_splits([r['split_group'] for r in records], [r['split'] for r in records])
  return lines


class Shards:
  """Weights of the networks of a published zoo, from its folder, manifest and `read_lines`.

  Attributes:
    path: of the folder.
  """

  def __init__(
    self, path: pathlib.Path, manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
  ):
    self.path = path
    self._files = manifest['files']
    self._names = sorted({line['shard'] for line in lines})
    numbers = {name: i for i, name in enumerate(self._names)}
    self._shard_of = np.array([numbers[line['shard']] for line in lines])
    self._rows = np.array([line['row'] for line in lines])
    self._keys = [line['key'] for line in lines]
    self._records = [line['record'] for line in lines]
    self._open: dict[int, typing.StackedParams] = {}

  def read(
    self, indices: np.ndarray, spec: spec_lib.Spec, dtypes: Mapping[str, str]
  ) -> typing.StackedParams:
    """Copies the weights of networks [n] of one architecture; each is compared with its digest.

    Raises:
      ValueError: naming the file, and the network that was changed, or is not finite although not
        marked diverged.
    """
    numbers = self._shard_of[indices]
    places = {int(number): np.flatnonzero(numbers == number) for number in np.unique(numbers)}
    shards = {
      number: self._shard(number, spec, dtypes, self._rows[indices[chosen]])
      for number, chosen in places.items()
    }
    # Nothing is allocated before the shards have these shapes.
    stacked = {
      leaf.path: np.empty((len(indices), *leaf.shape), np.dtype(dtypes[leaf.path]))
      for leaf in spec.leaves
    }
    for number, chosen in places.items():
      for path, array in stacked.items():
        array[chosen] = shards[number][path][self._rows[indices[chosen]]]
    self._verify(indices, stacked)
    return stacked

  def order(self) -> np.ndarray:
    """[n] indices in the order in which the networks lie in the files."""
    return np.lexsort((self._rows, self._shard_of))

  def _shard(
    self, number: int, spec: spec_lib.Spec, dtypes: Mapping[str, str], rows: np.ndarray
  ) -> typing.StackedParams:
    """Memory-mapped arrays of a shard, whose digest is verified at the first call."""
    name = self._names[number]
    file = self.path / name
    if number not in self._open:
      _check_digest(file, self._files[name]['sha256'])
      self._open[number] = safetensors_io.open_mapped(file)[0]
    shard = self._open[number]
    try:
      spec.check(shard, stacked=True)
      for path, dtype in dtypes.items():
        if shard[path].dtype.name != dtype:
          raise ValueError(f'{path} is {shard[path].dtype}, not {dtype}.')
        if len(shard[path]) <= rows.max():
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
      index = indices[place]
      if found != self._records[index]['tensor_digest']:
        problem = 'was changed: its weights have another digest than its record'
      elif not (finite[place] or self._records[index]['diverged']):
        problem = 'has NaN or infinite weights but is not marked diverged'
      else:
        continue
      file = self.path / self._names[self._shard_of[index]]
      raise ValueError(f'{file} net {self._keys[index]!r} {problem}.')


def _check_line(line: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
  """Raises ValueError unless a line has a record of this version and a place in a shard."""
  record = line.get('record')
  if not isinstance(record, dict):
    raise ValueError('it has no record.')
  if (version := record.get('schema_version')) != record_lib.VERSION:
    known = record_lib.VERSION
    raise ValueError(f'its schema version is {version!r}; this program reads {known!r}.')
  record_lib.check_names(record)
  for name, kind in _TYPES.items():
    if not isinstance(record[name], kind) or (kind is not bool and isinstance(record[name], bool)):
      raise ValueError(f'its field {name!r} is {record[name]!r:.80}.')
  for name in ('final', 'trace', 'datasets', 'parents'):
    needed = ('split', 'metric', 'value') if name in ('final', 'trace') else ()
    for item in record[name]:
      if not isinstance(item, dict) or any(key not in item for key in needed):
        raise ValueError(f'its field {name!r} holds {item!r:.80}.')
  if not isinstance((record['optimizer'] or {}).get('hparams', {}), dict):
    raise ValueError(f"its field 'optimizer' is {record['optimizer']!r:.80}.")
  if record['split'] not in record_lib.SPLITS:
    raise ValueError(f"its field 'split' is {record['split']!r}.")
  shard, row = line.get('shard'), line.get('row')
  is_file = isinstance(shard, str) and shard in manifest['files']
  if not is_file or type(row) is not int or not 0 <= row < manifest['num_nets']:
    raise ValueError(f'its place is {shard!r}, row {row!r}.')


def _check_digest(file: pathlib.Path, sha256: str) -> None:
  """Raises ValueError unless a file has that digest."""
  if (found := digest.of_file(file)) != sha256:
    raise ValueError(f'{file} was changed: its SHA-256 is {found}; the manifest says {sha256!r}.')


def share(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Makes equal values of the fields `SHARED` one object, in the given records."""
  shared = list(records)
  for name in SHARED:
    seen: list[Any] = []
    last: Any = None
    for record in shared:
      value = record.get(name)
      if value is last:
        continue
      last = next((copy for copy in seen if copy is value or copy == value), value)
      record[name] = last
      if last is value and len(seen) < _NUM_COPIES and all(x is not value for x in seen):
        seen.append(value)
  return shared
