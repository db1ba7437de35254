"""Fields of a checkpoint record: plain JSON, checked by the schema."""

import functools
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np

from wsjax.zoo.store import digest

SCHEMA = json.loads(
  (pathlib.Path(__file__).parent / 'schema/checkpoint_record.v1.json').read_text()
)
VERSION = SCHEMA['properties']['schema_version']['const']


def check_names(record: Mapping[str, Any]) -> None:
  """Raises unless a record has all required fields, and no unknown one.

  Raises:
    ValueError: naming the first of them.
  """
  names = SCHEMA['properties']
  if unknown := sorted(set(record) - set(names)):
    raise ValueError(
      f'Record has field {unknown[0]!r}, which the schema has not; it has {", ".join(names)}.'
    )
  if missing := [name for name in SCHEMA['required'] if name not in record]:
    raise ValueError(
      f'Record lacks required field {missing[0]!r}; null says that it is '
      'not known, where the schema allows it.'
    )


def canonical(name: str, value: Any) -> bytes:
  """Canonical JSON of one field.

  Args:
    name: of the field.
    value: a JSON value.

  Returns:
    RFC 8785 text.

  Raises:
    ValueError: one sentence naming the field, if the schema forbids the value or JSON cannot hold
      it.
  """
  return _canonical(name, _text(value))


def join(parts: Mapping[str, bytes]) -> bytes:
  """Canonical JSON of an object from that of its values."""
  fields = (b'"%s":%s' % (name.encode(), parts[name]) for name in sorted(parts))
  return b'{%s}' % b','.join(fields)


def plain(value: Any) -> Any:
  """A copy of plain JSON values: NumPy scalars as numbers.

  Args:
    value: dicts, lists, tuples, strings, numbers, None.

  Returns:
    The copy; numbers that are not finite are None, since JSON has none.

  Raises:
    ValueError: if it holds anything else.
  """
  try:
    text = json.dumps(value, allow_nan=False, default=_number)
  except ValueError:
    text = _text(_finite(value))
  except TypeError as error:
    raise ValueError(f'Not a JSON value in a record: {error}.') from error
  return digest.parse_json(text)


def _text(value: Any) -> str:
  """JSON text of a value: fast, not canonical; equal text is equal value."""
  if value is None:
    return 'null'
  if type(value) is int:
    return str(value)
  try:
    return json.dumps(value)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'Not a JSON value in a record: {error}.') from error


def _number(value: Any) -> Any:
  """A NumPy scalar as a number."""
  if isinstance(value, np.generic):
    return value.item()
  raise TypeError(f'{type(value).__name__} {value!r}')


def _finite(value: Any) -> Any:
  """The value with NaN and infinities, at any depth, as None."""
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, Mapping):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


@functools.lru_cache(maxsize=8192)
def _canonical(name: str, text: str) -> bytes:
  """Canonical JSON of one field; raises ValueError if the schema forbids it.

  Cached, because most fields are the same in every record of a zoo.
  """
  value = digest.parse_json(text)
  error = jsonschema.exceptions.best_match(_validator(name).iter_errors(value))
  if error is not None:
    place = '/'.join(map(str, [name, *error.absolute_path]))
    raise ValueError(f'Record field {place!r} is wrong: {error.message[:200]}.')
  try:
    return digest.canonical_json(value)
  except ValueError as error:
    raise ValueError(f'Record field {name!r}: {error}') from error


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
  if name not in SCHEMA['properties']:
    raise ValueError(f'Record has field {name!r}, which the schema has not.')
  return jsonschema.Draft202012Validator(SCHEMA['properties'][name])
