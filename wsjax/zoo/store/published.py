"""A published zoo, written and read: manifest, records, shards of weights.

A folder with a manifest is a zoo; without one it is nothing yet. Everything is made in a folder of
its own and renamed into place, the manifest last.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from wsjax import files, typing
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


def write(
  entries: Iterable[tuple[log_lib.Entry, bytes]],
  path: pathlib.Path,
  *,
  shard_size: int,
  keep: bool = False,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Writes a zoo folder; see `store.publish`.

  Args:
    entries: networks whose records are those of their weights, and canonical JSON of the records;
      one shard of each architecture is in memory.
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
    written = _write(entries, staging, shard_size, keep)
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
  entries: Iterable[tuple[log_lib.Entry, bytes]], folder: pathlib.Path, shard_size: int, keep: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Writes all files of a zoo into an empty folder; returns what `write` does."""
  pending: dict[str, tuple[str, list]] = {}  # Architecture -> the shard being filled.
  sums = {}  # File -> SHA-256.
  table: dict[str, list[Any]] = {}
  kept = []
  identities: dict[tuple[int, ...], tuple[str, Any]] = {}
  count = 0
  digests = hashlib.sha256()
  num_shards = 0

  def write_shard(name: str, nets: Sequence[typing.Params]) -> None:
    stacked = {path: np.stack([net[path] for net in nets]) for path in nets[0]}
    sums[name] = safetensors_io.save(folder / name, stacked, {'num_nets': len(nets)})

  with open(folder / RECORDS, 'wb') as lines:
    for entry, text in entries:
      parts = [entry.record[name] for name in ARCHITECTURE]
      same = tuple(map(id, parts))  # Records that were made together share these.
      if same not in identities:
        identities[same] = json.dumps(parts), parts
        if len(identities) > _NUM_COPIES:
          del identities[next(iter(identities))]
      identity = identities[same][0]
      if identity not in pending:
        pending[identity] = f'{SHARDS}/{num_shards:05d}.safetensors', []
        num_shards += 1
      shard, nets = pending[identity]
      place = {'key': entry.key, 'row': len(nets), 'shard': shard}
      # The record is spelled already.
      spelled = {name: digest.canonical_json(value) for name, value in place.items()}
      lines.write(record_lib.join(spelled | {'record': text}) + b'\n')
      for name, value in {**place, **columns.flatten(entry.record)}.items():
        column = table.setdefault(name, [])
        column.extend([None] * (count - len(column)))
        column.append(value)
      count += 1
      if keep:
        kept.append({**place, 'record': entry.record})
      digests.update(entry.record['tensor_digest'].encode())
      nets.append(entry.params)
      if len(nets) == shard_size:
        write_shard(*pending.pop(identity))
    for shard, nets in pending.values():
      write_shard(shard, nets)
    lines.flush()
    os.fsync(lines.fileno())
  if not count:
    raise ValueError(f'{folder.parent} is not published: it would be empty.')
  record_lib.check_splits(table['split_group'], table['split'])
  for column in table.values():
    column.extend([None] * (count - len(column)))
  _write_table(table, folder / TABLE)
  for name in (RECORDS, TABLE):
    if (folder / name).exists():
      sums[name] = digest.of_file(folder / name)
  manifest = {
    'format': FORMAT,
    'schema_version': VERSION,
    'num_nets': count,
    'splits': {split: table['split'].count(split) for split in record_lib.SPLITS},
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


def _write_table(values: Mapping[str, list[Any]], path: pathlib.Path) -> None:
  """Writes the records as Parquet, if the `zoo` extra is installed."""
  try:
    import pyarrow  # Large, and not everyone has it.
    from pyarrow import parquet
  except ImportError:
    text = "No records.parquet beside the zoo: it needs pyarrow; pip install 'wsjax[zoo]'."
    logging.log_first_n(logging.WARNING, text, 1)
    return
  table = {name: pyarrow.array(_one_type(values[name])) for name in sorted(values)}
  with open(path, 'wb') as file:  # Arrow itself reads more into a path than the file system does.
    parquet.write_table(pyarrow.table(table), file)


def _one_type(values: list[Any]) -> list[Any]:
  """A column of mixed types as text; numbers together are one type."""
  kinds = {type(value) for value in values} - {type(None)}
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
  """Weights of the networks of a published zoo, from its folder, manifest and `read_lines`."""

  def __init__(
    self, path: pathlib.Path, manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
  ):
    self._path = path
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
    file = self._path / name
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
      file = self._path / self._names[self._shard_of[index]]
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
  copies: dict[str, list[Any]] = {name: [] for name in SHARED}
  shared = []
  for record in records:
    for name, seen in copies.items():
      value = record.get(name)
      record[name] = next((copy for copy in seen if copy is value or copy == value), value)
      if record[name] is value and len(seen) < _NUM_COPIES and all(x is not value for x in seen):
        seen.append(value)
    shared.append(record)
  return shared
