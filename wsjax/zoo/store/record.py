"""Checkpoint records: all that is known about one network, by content hash.

The schema is `schema/checkpoint_record.v1.json`; every field is described there. A record never
changes: a correction is a new record that names the old one in `supersedes`.
"""

import datetime
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo.store import describe, digest, fields, licence

# What may be added to a record without making it another record.
UNSIGNED = ('record_id', 'attestations', 'signature_ref')

tensor_digest = digest.of_tensors
describe_architecture = describe.architecture
environment = describe.environment


def make(**values: Any) -> dict[str, Any]:
  """A valid record from its fields.

  `describe_architecture`, `describe_params` and `environment` give many of them. Fields that the
  schema does not require are null when not given.

  Args:
    **values: as in the schema; `schema_version` and `record_id` are set here, and `created_at` is
      now when not given. NumPy scalars become numbers; numbers that are not finite become null,
      since JSON has none.

  Returns:
    The record, of plain JSON values.

  Raises:
    ValueError: as `validate`.
  """
  record = dict.fromkeys(fields.SCHEMA['properties']) | values
  for name in fields.SCHEMA['required']:
    if name not in values:
      del record[name]
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  record.setdefault('created_at', now.replace('+00:00', 'Z'))
  record['schema_version'] = fields.VERSION
  record['record_id'] = None
  fields.check_names(record)
  record = fields.plain(record)
  parts = _parts(record)
  record['record_id'] = _id(parts)
  parts['record_id'] = fields.canonical('record_id', _id(parts))
  _check_agreement(record, parts)
  return record


def validate(record: Mapping[str, Any]) -> bytes:
  """Raises unless a record follows the schema and agrees with itself.

  Args:
    record: what `make` gave, or was read from a file.

  Returns:
    Its canonical JSON.

  Raises:
    ValueError: one sentence that names the field: it is missing, unknown or of a wrong type; the id
      does not match the content; the sizes do not match the parameters; a licence is not an SPDX
      expression; a network of unknown licence is marked redistributable.
  """
  fields.check_names(record)
  parts = _parts(record)
  parts['record_id'] = fields.canonical('record_id', record['record_id'])
  if record['record_id'] != (expected := _id(parts)):
    raise ValueError(
      f"Record field 'record_id' is {record['record_id']}, but the content "
      f'hashes to {expected}; the record was changed.'
    )
  _check_agreement(record, parts)
  return fields.join(parts)


def record_id(record: Mapping[str, Any]) -> str:
  """The id that the content of a record gives it.

  Args:
    record: with or without the fields of `UNSIGNED`, in any key order.

  Returns:
    'wsr1:' and the SHA-256 of the canonical JSON of the other fields.

  Raises:
    ValueError: if a field does not follow the schema.
  """
  return _id(_parts(record))


def spec(record: Mapping[str, Any]) -> spec_lib.Spec:
  """The symmetry of the network that a record describes.

  Raises:
    ValueError: if `param_tree` and `symmetry` do not fit each other.
  """
  return _spec(
    fields.canonical('param_tree', record['param_tree']),
    fields.canonical('symmetry', record['symmetry']),
  )


def describe_params(params: typing.Params) -> dict[str, Any]:
  """Record fields of the weights of one network, stored with others."""
  arrays = [np.asarray(array) for array in params.values()]
  return {
    'tensor_digest': tensor_digest(params),
    'file_sha256': None,
    'format': 'safetensors',
    'n_bytes': sum(array.nbytes for array in arrays),
    'n_params': sum(array.size for array in arrays),
  }


def check_params(record: Mapping[str, Any], params: typing.Params) -> None:
  """Raises unless `params` are the weights that a record describes.

  Raises:
    ValueError: for another path, shape or dtype than in `param_tree`, weights that are not finite
      although not marked diverged, or another digest.
  """
  spec(record).check(params)
  for leaf in record['param_tree']:
    array = np.asarray(params[leaf['path']])
    if array.dtype.name != leaf['dtype']:
      raise ValueError(f'{leaf["path"]} is {array.dtype.name}; its record says {leaf["dtype"]}.')
    if not record['diverged'] and not is_finite(array):
      raise ValueError(
        f'{leaf["path"]} has NaN or infinite weights, but the record is not marked diverged.'
      )
  if record['tensor_digest'] != (found := tensor_digest(params)):
    raise ValueError(
      f"Record field 'tensor_digest' is {record['tensor_digest']}, but the "
      f'weights hash to {found}; one of them was changed.'
    )


def is_finite(array: np.ndarray) -> bool:
  """Whether no value is NaN or infinite; integers and booleans always."""
  if array.dtype.kind in 'iub':
    return True
  return bool(np.isfinite(array).all())


def _check_agreement(record: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
  """Raises ValueError where valid fields contradict each other."""
  sizes = _sizes(parts['param_tree'])
  for name, expected in zip(('n_params', 'n_bytes'), sizes, strict=True):
    if record[name] != expected:
      raise ValueError(
        f'Record field {name!r} is {record[name]}, but the parameters of '
        f"'param_tree' have {expected}."
      )
  _spec(parts['param_tree'], parts['symmetry'])
  if None not in (record['step'], record['steps']):
    if record['step'] > record['steps']:
      raise ValueError(
        f"Record field 'step' is {record['step']}, beyond the {record['steps']} of 'steps'."
      )
  for parent in record['parents']:
    if not (parent['record_id'] or parent.get('external_ref')):
      raise ValueError(
        "Record field 'parents' has an entry with neither record_id nor external_ref."
      )
  _check_licences(record)


def _check_licences(record: Mapping[str, Any]) -> None:
  given = [
    ('license', record['license']),
    ('license_effective', record.get('license_effective')),
    *(('datasets', dataset['license']) for dataset in record['datasets']),
  ]
  for name, expression in given:
    if expression is not None and (problem := licence.problem(expression)):
      raise ValueError(
        f'Record field {name!r} holds {expression!r}, which is not an SPDX expression: {problem}.'
      )
  if record['license'] is None and record['redistributable']:
    raise ValueError("Record field 'redistributable' is true although 'license' is unknown.")


def _parts(record: Mapping[str, Any]) -> dict[str, bytes]:
  """Canonical JSON of every field but the id, each checked by the schema."""
  return {
    name: fields.canonical(name, value) for name, value in record.items() if name != 'record_id'
  }


def _id(parts: Mapping[str, bytes]) -> str:
  """The record id that the content of a record gives it."""
  content = {name: part for name, part in parts.items() if name not in UNSIGNED}
  return f'wsr1:{hashlib.sha256(fields.join(content)).hexdigest()}'


@functools.lru_cache(maxsize=256)
def _spec(param_tree: bytes, symmetry: bytes) -> spec_lib.Spec:
  return spec_lib.Spec.from_json({'groups': json.loads(symmetry), 'leaves': json.loads(param_tree)})


@functools.lru_cache(maxsize=256)
def _sizes(param_tree: bytes) -> tuple[int, int]:
  """Number of weights and of bytes of a parameter tree."""
  import ml_dtypes  # noqa: F401  Names bfloat16 and float8 to NumPy.

  sizes = [
    (math.prod(leaf['shape']), np.dtype(leaf['dtype']).itemsize) for leaf in json.loads(param_tree)
  ]
  return sum(n for n, _ in sizes), sum(n * item for n, item in sizes)
