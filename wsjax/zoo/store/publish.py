"""Publishing a log: stacked shards, a table of records, a manifest.

A folder with a manifest is a zoo; without one it is nothing yet. Everything is made in a folder of
its own and renamed into place, the manifest last.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.zoo import splits
from wsjax.zoo.store import columns, digest, safetensors_io
from wsjax.zoo.store import log as log_lib

FORMAT = 'wsjax-zoo'
VERSION = '1.0.0'
MANIFEST = 'manifest.json'
RECORDS = 'records.jsonl'
TABLE = 'records.parquet'
SHARDS = 'shards'
STAGING = '.publishing'

# Networks that agree in these share shards.
ARCHITECTURE = ('arch_id', 'arch_config', 'param_tree')


def publish(log: log_lib.Log, path: pathlib.Path, *, shard_size: int) -> None:
  """Writes the zoo folder of a log; see `store.publish`."""
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
    raise ValueError(
      f'{path} holds {found[0]} but no {MANIFEST}; restore the manifest, or '
      'publish to another folder.'
    )
  _remove(staging)
  (staging / SHARDS).mkdir(parents=True)
  try:
    _write(log, staging, shard_size)
  except OSError as error:
    _remove(staging)  # The disk may be full of it.
    raise OSError(error.errno, f'{path} was not published, the log is intact: {error}') from error
  for part in parts:
    if (staging / part).exists():
      os.replace(staging / part, path / part)
      safetensors_io.sync_folder(path)
  staging.rmdir()


def manifest_text(manifest: Mapping[str, Any]) -> str:
  """Spells a manifest in the one way, with the digest of its other fields."""
  fields = {name: manifest[name] for name in manifest if name != 'sha256'}
  fields['sha256'] = digest.of_json(fields)
  return json.dumps(fields, indent=2, sort_keys=True) + '\n'


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def _write(log: log_lib.Log, folder: pathlib.Path, shard_size: int) -> None:
  """Writes all files of a zoo into an empty folder."""
  pending: dict[str, _Shard] = {}  # Architecture -> the shard being filled.
  files = {}
  rows = []
  digests = hashlib.sha256()
  num_shards = 0
  with open(folder / RECORDS, 'wb') as lines:
    for entry, text in log.entries():
      identity = json.dumps([entry.record[name] for name in ARCHITECTURE])
      if identity not in pending:
        pending[identity] = _Shard(f'{SHARDS}/{num_shards:05d}.safetensors')
        num_shards += 1
      shard = pending[identity]
      place = {'key': entry.key, 'row': len(shard.nets), 'shard': shard.name}
      lines.write(_line(place, text))
      rows.append({**place, **columns.flatten(entry.record)})
      digests.update(entry.record['tensor_digest'].encode())
      shard.nets.append(entry.params)
      if len(shard.nets) == shard_size:
        files[shard.name] = pending.pop(identity).write(folder)
    for shard in pending.values():
      files[shard.name] = shard.write(folder)
    lines.flush()
    os.fsync(lines.fileno())
  if not rows:
    raise ValueError(f'{log.path} is empty; there is no zoo to publish.')
  splits.check([row['split_group'] for row in rows], [row['split'] for row in rows])
  _write_table(rows, folder / TABLE)
  for name in (RECORDS, TABLE):
    if (folder / name).exists():
      files[name] = digest.of_file(folder / name)
  manifest = {
    'format': FORMAT,
    'schema_version': VERSION,
    'num_nets': len(rows),
    'splits': {split: sum(row['split'] == split for row in rows) for split in splits.SPLITS},
    # Of the weights alone: two zoos of one config share it, although their records differ in
    # time and place.
    'content_digest': digests.hexdigest(),
    'files': {
      name: {'bytes': (folder / name).stat().st_size, 'sha256': sha256}
      for name, sha256 in files.items()
    },
  }
  safetensors_io.sync_folder(folder / SHARDS)
  with open(folder / MANIFEST, 'w') as file:
    file.write(manifest_text(manifest))
    file.flush()
    os.fsync(file.fileno())
  safetensors_io.sync_folder(folder)


class _Shard:
  """Networks of one architecture that will be stacked in one file."""

  def __init__(self, name: str):
    self.name = name
    self.nets = []

  def write(self, folder: pathlib.Path) -> str:
    """Writes the file; returns its SHA-256."""
    stacked = {path: np.stack([net[path] for net in self.nets]) for path in self.nets[0]}
    return safetensors_io.save(folder / self.name, stacked, {'num_nets': len(self.nets)})


def _line(place: Mapping[str, Any], record: bytes) -> bytes:
  """One line of the records file: where a network is, and its record."""
  return b'{"key":%s,"record":%s,"row":%d,"shard":%s}\n' % (
    digest.canonical_json(place['key']),
    record,
    place['row'],
    digest.canonical_json(place['shard']),
  )


def _write_table(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Writes the records as Parquet, if the `zoo` extra is installed."""
  try:
    import pyarrow  # Large, and not everyone has it.
    from pyarrow import parquet
  except ImportError:
    return
  names = sorted({name for row in rows for name in row})
  table = {name: pyarrow.array(_one_type([row.get(name) for row in rows])) for name in names}
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
