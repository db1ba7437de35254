"""SHA-256 digests of files, JSON values and weights, by which all that a zoo stores is checked."""

import decimal
import functools
import hashlib
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import rfc8785

from wsjax import files, typing

_MAX_ROW = 1 << 20  # Bytes of networks that are hashed side by side.


def canonical_json(value: Any) -> bytes:
  """Spells a JSON value in the one canonical way: sorted keys, no spaces, UTF-8.

  Raises ValueError if JSON cannot hold the value (NaN, integers above 2^53, ...).

  Source: RFC 8785.
  """
  try:
    return rfc8785.dumps(value)
  except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
    raise ValueError(f'Not a JSON value: {error}.') from error


def parse_json(text: str | bytes, where: object = 'The text') -> Any:
  """Reads JSON as `files.parse_json`, so that `canonical_json` of the value is the text again.

  Canonical JSON spells the float 1e17 as an integer, too long a one for an integer of its own; it
  is read as a float.
  """
  return files.parse_json(text, where, parse_int=_parse_int)


def _parse_int(text: str) -> int | float:
  if len(text) > 22:
    raise ValueError(f'the integer {text[:20]}... is too long')
  number = int(text)
  if len(text) > 15 and number == int(decimal.Decimal(repr(float(number)))):
    return number if abs(number) < 1 << 53 else float(number)
  return number


def of_json(value: Any) -> str:
  """SHA-256 of the canonical JSON of a value; raises as `canonical_json`."""
  return hashlib.sha256(canonical_json(value)).hexdigest()


def of_file(path: pathlib.Path | str) -> str:
  """SHA-256 of the bytes of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def contiguous(array: typing.Array) -> np.ndarray:
  """Makes an array of any strides C-contiguous and little-endian, on the host."""
  array = np.asarray(array)
  if array.dtype.byteorder == ('>' if sys.byteorder == 'little' else '='):
    array = array.astype(array.dtype.newbyteorder('<'))
  # Not ascontiguousarray: that gives a scalar an axis.
  return np.asarray(array, order='C')


@functools.lru_cache(maxsize=1024)
def _header(path: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
  """Bytes that are hashed before those of one tensor."""
  return f'{json.dumps([path, dtype.name, list(shape)])}\n'.encode()


def of_tensors(params: typing.Params) -> str:
  """SHA-256 of weights: sorted (path, dtype, shape, bytes); memory order does not matter."""
  hasher = hashlib.sha256()
  for path in sorted(params):
    array = contiguous(params[path])
    hasher.update(_header(path, array.dtype, array.shape))
    hasher.update(array.reshape(-1).view(np.uint8))
  return hasher.hexdigest()


def of_stacked(stacked: typing.StackedParams) -> list[str]:
  """Returns `of_tensors` of each of n networks, path -> [n, ...]."""
  leaves = []
  for path in sorted(stacked):
    array = contiguous(stacked[path])
    rows = array.reshape(-1).view(np.uint8).reshape(len(array), -1) if array.size else array
    leaves.append((_header(path, array.dtype, array.shape[1:]), rows))
  count = len(leaves[0][1]) if leaves else 0
  size = sum(len(header) + rows[:1].nbytes for header, rows in leaves)
  if not count or size > _MAX_ROW:
    return [_of_parts(leaves, net) for net in range(count)]
  # Small networks are hashed in one call each, which is most of their time.
  digests = []
  block = np.empty((min(count, max(1, _MAX_ROW // size)), size), np.uint8)
  for start in range(0, count, len(block)):
    stop = min(start + len(block), count)
    place = 0
    for header, rows in leaves:
      if not start:
        block[:, place : place + len(header)] = np.frombuffer(header, np.uint8)
      place += len(header)
      if rows.size:
        block[: stop - start, place : place + rows.shape[1]] = rows[start:stop]
        place += rows.shape[1]
    digests += [hashlib.sha256(row).hexdigest() for row in block[: stop - start]]
  return digests


def _of_parts(leaves: Sequence[tuple[bytes, np.ndarray]], net: int) -> str:
  hasher = hashlib.sha256()
  for header, rows in leaves:
    hasher.update(header)
    hasher.update(rows[net])
  return hasher.hexdigest()
