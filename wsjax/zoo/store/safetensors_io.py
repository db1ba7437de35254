"""safetensors files, written and read strictly.

The library accepts a name twice, names that lead out of a folder, and more, so that two readers of
one file may see different tensors; version 0.8.0 writes wrong values for arrays that are not
C-contiguous (safetensors issue 825). So the header is parsed here before anything is read, and
files are read back once they are written.

Source: the format, https://huggingface.co/docs/safetensors.
"""

import dataclasses
import errno
import math
import os
import pathlib
import re
import struct
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from wsjax import files, typing
from wsjax.zoo.store import digest

# With two metadata keys the bytes of a file change from save to save, so there is one, which holds
# canonical JSON.
METADATA_KEY = 'wsjax'

MAX_HEADER_BYTES = 1 << 20
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
  """Tensors of a file, path -> `Tensor`, and its metadata."""

  tensors: Mapping[str, Tensor]
  metadata: Mapping[str, str]


def check_header(path: pathlib.Path | str) -> Header:
  """Reads and checks the header of a file, whoever wrote it.

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
  fields = files.parse_json(bytes(content[8 : 8 + length]), f'The header of {where}')
  if not isinstance(fields, dict):
    raise ValueError(f'{where} has a header that is not a JSON object.')
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


def _tensor(entry: Any, base: int, start: int, where: str) -> Tensor:
  """One tensor, which must begin at byte `start` of the file."""
  if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
    raise ValueError(f'{where} must have dtype, shape and data_offsets only.')
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


def save(
  path: pathlib.Path | str, tensors: typing.Params, metadata: Mapping[str, Any] | None = None
) -> str:
  """Writes a file in one step: it is there whole, or not at all.

  Args:
    path: of the file; an older one is replaced.
    tensors: name -> array, of any strides. Names match `KEY`, without '..'.
    metadata: JSON values, stored as canonical JSON; for information only.

  Returns:
    SHA-256 of the file. Equal tensors and metadata give equal bytes.

  Raises:
    ValueError: for a name or dtype that is not allowed.
    OSError: if the file cannot be written, or reads back differently.
  """
  path = pathlib.Path(path)
  content = to_bytes(tensors, metadata)
  try:
    with files.replacing(path) as file:
      file.write(content)
      file.flush()
      _check_same(tensors, open_mapped(file.name)[0])
  except OSError as error:
    raise OSError(error.errno, f'{path} was not written, {error.strerror or error}') from error
  sync_folder(path.parent)
  return digest.of_file(path)


def to_bytes(tensors: typing.Params, metadata: Mapping[str, Any] | None = None) -> bytes:
  """Returns the bytes of a file; arguments and errors are those of `save`."""
  return pack(tensors, digest.canonical_json(dict(metadata or {})).decode())


def pack(tensors: typing.Params, text: str) -> bytes:
  """Returns the bytes of a file whose metadata are canonical JSON text already."""
  arrays = {}
  for name, value in tensors.items():
    check_name(name, 'tensors')
    arrays[name] = digest.contiguous(value)
    if arrays[name].dtype not in DTYPES.values():
      raise ValueError(
        f'{name} has dtype {arrays[name].dtype}, which a safetensors file '
        f'cannot hold; allowed: {", ".join(DTYPES)}.'
      )
  content = safetensors.numpy.save(arrays, {METADATA_KEY: text})
  check_length(content, len(content), 'tensors')
  return content


def load(path: pathlib.Path | str) -> tuple[typing.Params, dict[str, Any]]:
  """Reads a file that `save` wrote.

  Args:
    path: of the file.

  Returns:
    (tensors, metadata). The arrays are copies; NaN is allowed here.

  Raises:
    ValueError: as `check_header`, or if the metadata are not one key of canonical JSON.
    OSError: if the file cannot be read.
  """
  tensors, metadata = open_mapped(path)
  return {name: np.array(array) for name, array in tensors.items()}, metadata


def open_mapped(path: pathlib.Path | str) -> tuple[typing.Params, dict[str, Any]]:
  """Opens a file that `save` wrote; an array is read when a slice of it is."""
  header = check_header(path)
  # Not safe_open, which gives ranges only: a store reads scattered rows.
  content = np.memmap(path, mode='r', dtype=np.uint8)
  text = _metadata_text(header, str(path))
  return _views(header, content), _decode_metadata(text, str(path))


def unpack(content: bytes | memoryview, where: str) -> tuple[typing.Params, str]:
  """Reads what `pack` gave.

  Args:
    content: the bytes.
    where: what to call them in errors.

  Returns:
    (tensors, text): read-only views, and the metadata as they stand there.

  Raises:
    ValueError: as `load`, but the text is not looked into.
  """
  header = parse(memoryview(content), len(content), where)
  array = np.frombuffer(content, np.uint8)
  return _views(header, array), _metadata_text(header, where)


def sync_folder(path: pathlib.Path) -> None:
  """Makes renames in a folder durable."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _check_same(tensors: typing.Params, written: typing.Params) -> None:
  if digest.of_tensors(tensors) != digest.of_tensors(written):
    raise OSError(errno.EIO, 'it reads back with other values')


def _views(header: Header, content: np.ndarray) -> typing.Params:
  """Arrays over the bytes [n] uint8 of a whole file."""
  return {
    name: content[tensor.start : tensor.stop].view(tensor.dtype).reshape(tensor.shape)
    for name, tensor in header.tensors.items()
  }


def _metadata_text(header: Header, where: str) -> str:
  if set(header.metadata) != {METADATA_KEY}:
    raise ValueError(
      f'{where} has metadata {sorted(header.metadata)[:5]}; a file of wsjax '
      f'has {METADATA_KEY!r} alone.'
    )
  return header.metadata[METADATA_KEY]


def _decode_metadata(text: str, where: str) -> dict[str, Any]:
  try:
    metadata = digest.parse_json(text)
    canonical = digest.canonical_json(metadata).decode() == text
  except ValueError as error:
    raise ValueError(f'{where} has broken metadata: {error}') from error
  if not canonical or not isinstance(metadata, dict):
    raise ValueError(f'{where} has metadata that are not canonical JSON.')
  return metadata
