"""The header of a safetensors file, parsed strictly.

The library accepts a name twice, names that lead out of a folder, and more, so that two readers of
one file may see different tensors. Here each is an error.

Source: the format, https://huggingface.co/docs/safetensors.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

MAX_HEADER_BYTES = 1 << 20
FIELDS = {'dtype', 'shape', 'data_offsets'}
KEY = re.compile(r'[A-Za-z0-9_./-]{1,256}')

DTYPES = {
  'F64': np.dtype('<f8'),
  'F32': np.dtype('<f4'),
  'F16': np.dtype('<f2'),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'F8_E4M3': np.dtype(ml_dtypes.float8_e4m3fn),
  'F8_E5M2': np.dtype(ml_dtypes.float8_e5m2),
  'I64': np.dtype('<i8'),
  'I32': np.dtype('<i4'),
  'I16': np.dtype('<i2'),
  'I8': np.dtype('i1'),
  'U64': np.dtype('<u8'),
  'U32': np.dtype('<u4'),
  'U16': np.dtype('<u2'),
  'U8': np.dtype('u1'),
  'BOOL': np.dtype('?'),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
  """Where a tensor lies: bytes [start, stop) of the file."""

  dtype: np.dtype
  shape: tuple[int, ...]
  start: int
  stop: int


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file says that it holds: path -> `Tensor`, and free text."""

  tensors: Mapping[str, Tensor]
  metadata: Mapping[str, str]


def check(path: pathlib.Path | str) -> Header:
  """Reads and checks the header of a file, whoever wrote it.

  Args:
    path: of the file.

  Returns:
    The header.

  Raises:
    ValueError: one sentence naming the file and the rule: the header is longer than the file or 1
      MiB; it is not JSON, or has a key twice; a name is
      like a path that leads out; a dtype is unknown; shape and bytes disagree; tensors overlap,
      leave gaps, or end before or after the file does.
    OSError: if the file cannot be read.
  """
  with open(path, 'rb') as file:
    size = os.fstat(file.fileno()).st_size
    return parse(memoryview(file.read(8 + MAX_HEADER_BYTES)), size, str(path))


def check_name(name: str, where: str) -> None:
  """Raises ValueError unless a tensor may have that name."""
  if not KEY.fullmatch(name) or '..' in name or name.startswith('/'):
    raise ValueError(
      f'{where}: tensor name {name[:80]!r} is not allowed; it must match '
      f"{KEY.pattern}, without '..' or a leading '/'."
    )


def parse(content: memoryview, size: int, where: str) -> Header:
  """The header in the first bytes of a file; errors as in `check`.

  Args:
    content: the whole header at least, or all that is allowed of one.
    size: of the whole file, bytes.
    where: what to call the file in errors.
  """
  length = check_length(content, size, where)
  fields = _json(bytes(content[8 : 8 + length]), where)
  metadata = fields.pop('__metadata__', {})
  if not isinstance(metadata, dict) or not all(
    isinstance(value, str) for value in metadata.values()
  ):
    raise ValueError(f'{where} has metadata that are not text.')
  tensors = {}
  base = stop = 8 + length
  for name, entry in fields.items():
    check_name(name, where)
    place = f'{where}: tensor {name!r}'
    tensors[name] = _tensor(entry, base, stop, place)
    stop = tensors[name].stop
  if stop != size:
    raise ValueError(
      f'{where} is {size} bytes long, but its tensors end at byte {stop}; it '
      'was truncated or added to.'
    )
  return Header(tensors, metadata)


def check_length(content: bytes | memoryview, size: int, where: str) -> int:
  """The length of the header in bytes; arguments and errors as in `parse`."""
  if size < 8:
    raise ValueError(f'{where} is {size} bytes long, too short for a header.')
  (length,) = struct.unpack('<Q', content[:8])
  if length > min(size - 8, MAX_HEADER_BYTES):
    raise ValueError(
      f'{where} announces a header of {length} bytes; the file has {size}, '
      f'and {MAX_HEADER_BYTES} are allowed.'
    )
  return length


def _json(content: bytes, where: str) -> dict[str, Any]:
  try:
    fields = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{where} has a broken header: {error}.') from error
  if not isinstance(fields, dict):
    raise ValueError(f'{where} has a header that is not a JSON object.')
  return fields


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
  fields = {}
  for name, value in pairs:
    if name in fields:
      raise ValueError(f'{name[:80]!r} is there twice')
    fields[name] = value
  return fields


def _refuse(constant: str) -> None:
  raise ValueError(f'{constant} is not JSON')


def _tensor(entry: Any, base: int, start: int, where: str) -> Tensor:
  """One tensor, which must begin at byte `start` of the file."""
  if not isinstance(entry, dict) or entry.keys() != FIELDS:
    raise ValueError(f'{where} must have {", ".join(sorted(FIELDS))} only.')
  dtype = DTYPES.get(entry['dtype']) if type(entry['dtype']) is str else None
  if dtype is None:
    raise ValueError(
      f'{where} has dtype {str(entry["dtype"])[:20]!r}; allowed: {", ".join(DTYPES)}.'
    )
  for field in ('shape', 'data_offsets'):
    if not isinstance(entry[field], list) or not all(
      type(number) is int and 0 <= number < 1 << 63 for number in entry[field]
    ):
      raise ValueError(f'{where} has a {field} that is not a list of sizes.')
  shape, offsets = tuple(entry['shape']), entry['data_offsets']
  if len(offsets) != 2 or offsets[0] != start - base:
    raise ValueError(
      f'{where} has data_offsets {offsets[:3]}, which do not begin at '
      f'{start - base}, where the tensor before it ends.'
    )
  # Python integers do not overflow, however long the shape is.
  if offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
    raise ValueError(
      f'{where} has {offsets[1] - offsets[0]} bytes, which is not its shape '
      f'{shape[:8]} of {entry["dtype"]}.'
    )
  return Tensor(dtype, shape, start, base + offsets[1])
