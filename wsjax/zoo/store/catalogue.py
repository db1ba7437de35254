"""What a published zoo says about itself: manifest, records, architectures."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo import splits
from wsjax.zoo.store import digest, fields, shards
from wsjax.zoo.store import record as record_lib

# Fields that are alike in most records of a zoo; one copy is kept in memory.
SHARED = (
  'arch_config',
  'param_tree',
  'symmetry',
  'packages',
  'code',
  'accelerator',
  'datasets',
  'attribution',
  'xla_flags',
)
_NUM_COPIES = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
  """An architecture as its records describe it.

  Attributes:
    arch_id: plug-in of zoo.architectures, or somebody else's name.
    arch_config: its arguments.
    activation: name of the non-linearity.
    spec: shapes and symmetries.
    dtypes: path -> dtype name.
  """

  arch_id: str
  arch_config: Mapping[str, Any]
  activation: str
  spec: spec_lib.Spec
  dtypes: Mapping[str, str]

  def build(self) -> model_lib.Model:
    """The architecture itself; ValueError if no plug-in has that name."""
    return model_lib.from_record(self.arch_id, self.arch_config)


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
  """Reads the manifest of a zoo folder and compares it with its own digest.

  Raises:
    ValueError: if it is missing, broken, changed, or of another version.
  """
  file = path / shards.MANIFEST
  if not file.is_file():
    raise ValueError(f'{path} has no {shards.MANIFEST}: it is not a published zoo.')
  try:
    text = file.read_text()
    manifest = digest.parse_json(text)
    version = manifest['schema_version']
    intact = shards.manifest_text(manifest) == text
    _check_manifest(manifest)
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise ValueError(f'{file} is broken: {error!r}.') from error
  if version != shards.VERSION:
    raise ValueError(
      f'{file} has schema version {version!r}; this program reads {shards.VERSION!r}.'
    )
  if not intact:
    raise ValueError(f'{file} was changed: it does not match its own digest.')
  return manifest


def _check_manifest(manifest: Mapping[str, Any]) -> None:
  """Raises ValueError, KeyError or TypeError for a field of another form."""
  if type(manifest['num_nets']) is not int or not manifest['content_digest']:
    raise ValueError('num_nets or content_digest')
  for name, file in manifest['files'].items():
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or '..' in path.parts:
      raise ValueError(f'{name!r} is not inside the zoo')
    if type(file['bytes']) is not int or type(file['sha256']) is not str:
      raise ValueError(f'the entry of {name!r}')
  if shards.RECORDS not in manifest['files']:
    raise ValueError(f'{shards.RECORDS} is not listed')


def check_files(path: pathlib.Path, manifest: Mapping[str, Any]) -> None:
  """Checks that every file is there and whole; hashes all but the shards.

  Raises:
    ValueError: naming the first file that is missing, of another length, or changed.
  """
  for name, file in manifest['files'].items():
    if not (path / name).is_file():
      raise ValueError(f'{path} lacks {name}, which its manifest lists.')
    if (size := (path / name).stat().st_size) != file['bytes']:
      raise ValueError(f'{path / name} is {size} bytes long; the manifest says {file["bytes"]}.')
    if not name.startswith(f'{shards.SHARDS}/'):
      check_digest(path / name, file['sha256'])


def check_digest(file: pathlib.Path, sha256: str) -> None:
  """Raises ValueError unless a file has that digest."""
  if (found := digest.of_file(file)) != sha256:
    raise ValueError(f'{file} was changed: its SHA-256 is {found}, and the manifest says {sha256}.')


def read_lines(path: pathlib.Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Reads records.jsonl: per network 'key', 'record', 'shard' and 'row'.

  Equal values of the fields `SHARED` become one object.

  Raises:
    ValueError: naming the first network whose line is broken or whose record is of another version,
      lacks a field, or is in no shard.
  """
  file = path / shards.RECORDS
  copies = {name: [] for name in SHARED}
  lines = []
  for number, text in enumerate(file.read_bytes().splitlines(), 1):
    name = f'line {number}'
    try:
      line = digest.parse_json(text)
      name = f'net {line["key"]!r}'
      record, row = line['record'], line['row']
      if record['schema_version'] != fields.VERSION:
        raise ValueError(
          f'its schema version is {record["schema_version"]!r}; this program '
          f'reads {fields.VERSION!r}.'
        )
      fields.check_names(record)
      if line['shard'] not in manifest['files'] or type(row) is not int:
        raise ValueError(f'its place is {line["shard"]!r}, row {row!r}.')
    except (ValueError, KeyError, TypeError, RecursionError) as error:
      raise ValueError(f'{file} {name} is broken: {error}') from error
    for field in SHARED:
      record[field] = _one_copy(copies[field], record.get(field))
    lines.append(line)
  if len(lines) != manifest['num_nets']:
    raise ValueError(f'{file} has {len(lines)} records; the manifest says {manifest["num_nets"]}.')
  splits.check(
    [line['record']['split_group'] for line in lines], [line['record']['split'] for line in lines]
  )
  return lines


def describe(lines: Sequence[Mapping[str, Any]]) -> tuple[list[Description], list[int]]:
  """Architectures of a zoo, and which one every network has.

  Args:
    lines: of `read_lines`.

  Returns:
    (descriptions, indices into them).

  Raises:
    ValueError: naming a network whose parameters and symmetry do not fit.
  """
  descriptions = []
  numbers = {}
  indices = []
  for line in lines:
    record = line['record']
    # The objects are kept alive by the lines, so their ids are unique.
    identity = (
      record['arch_id'],
      *(id(record[name]) for name in ('arch_config', 'param_tree', 'symmetry')),
      record['activation'],
    )
    if identity not in numbers:
      numbers[identity] = len(descriptions)
      descriptions.append(_description(line['key'], record))
    indices.append(numbers[identity])
  return descriptions, indices


def index(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """What networks are selected by: split, arch_id, diverged and final [n]."""
  return {
    'split': np.array([record['split'] for record in records]),
    'arch_id': np.array([record['arch_id'] for record in records]),
    'diverged': np.array([record['diverged'] for record in records]),
    # A checkpoint that belongs to no run of known length is not a snapshot.
    'final': np.array(
      [
        None in (record['step'], record['steps']) or record['step'] == record['steps']
        for record in records
      ]
    ),
  }


def column(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> np.ndarray:
  """One field of every record, as an array; see `store.Zoo.column`."""
  if not names or names[0] not in fields.SCHEMA['properties']:
    raise ValueError(
      f'Records have no field {"/".join(names)!r}; they have '
      f'{", ".join(fields.SCHEMA["properties"])}.'
    )
  values = [_value(record, names) for record in records]
  kinds = {type(value) for value in values} - {type(None)}
  if kinds == {str}:
    return np.array(['' if value is None else value for value in values])
  if kinds == {bool} and None not in values:
    return np.array(values)
  if kinds and kinds <= {int, float, bool}:
    return np.array([np.nan if value is None else value for value in values], np.float64)
  raise ValueError(f'No record has a scalar in {"/".join(names)!r}.')


def _value(record: Mapping[str, Any], names: Sequence[str]) -> Any:
  """A value inside a record; None where it is not there."""
  value = record.get(names[0])
  if names[0] in ('final', 'trace'):
    found = [item['value'] for item in value if (item['split'], item['metric']) == tuple(names[1:])]
    return found[-1] if found else None
  for name in names[1:]:
    value = value.get(name) if isinstance(value, Mapping) else None
  return value


def _one_copy(copies: list[Any], value: Any) -> Any:
  """The equal value seen before, or this one."""
  for copy in copies:
    if copy == value:
      return copy
  if len(copies) < _NUM_COPIES:
    copies.append(value)
  return value


def _description(key: str, record: Mapping[str, Any]) -> Description:
  try:
    return Description(
      arch_id=record['arch_id'],
      arch_config=record['arch_config'],
      activation=record['activation'],
      spec=record_lib.spec(record),
      dtypes={leaf['path']: leaf['dtype'] for leaf in record['param_tree']},
    )
  except ValueError as error:
    raise ValueError(f'{shards.RECORDS} net {key!r} has a broken architecture: {error}') from error
