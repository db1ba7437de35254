"""safetensors files, written and read strictly.

The library accepts a name twice, names that lead out of a folder, and more, so that two readers of
one file may see different tensors; version 0.8.0 writes wrong values for arrays that are not
C-contiguous (safetensors issue 825). So headers are parsed here, and files that were written are
read back.

Source: the format, https://huggingface.co/docs/safetensors.
"""

import dataclasses
import errno
import hashlib
import json
import math
import os
import pathlib
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from wsjax import files, typing
from wsjax.zoo.store import digest

# With two metadata keys the bytes of a file change from save to save, so there is one, which holds
# canonical JSON.
METADATA_KEY = 'wsjax'

MAX_HEADER_BYTES = 1 << 20
_AT_ONCE = 1 << 20  # Bytes that are hashed and written in turn.
KEY = re.compile(r'[A-Za-z0-9_./~-]{1,256}')  # Haiku has tildes.

DTYPES = {
  **{f'F{8 * n}': np.dtype(f'<f{n}') for n in (8, 4, 2)},
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'F8_E4M3': np.dtype(ml_dtypes.float8_e4m3fn),
  'F8_E5M2': np.dtype(ml_dtypes.float8_e5m2),
  **{f'I{8 * n}': np.dtype(f'<i{n}') for n in (8, 4, 2, 1)},
  **{f'U{8 * n}': np.dtype(f'<u{n}') for n in (8, 4, 2, 1)},
  'BOOL': np.dtype('?'),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The library writes tensors in this order of dtypes, those of one dtype by their names.
_ORDER = (
  'U64', 'I64', 'F64', 'F32', 'U32', 'I32', 'BF16', 'F16', 'U16', 'I16', 'F8_E4M3', 'F8_E5M2', 'I8',
  'U8', 'BOOL',
)  # fmt: skip


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
      MiB; it is not JSON, or has a key twice; a name is like a path that leads out; a dtype is
      unknown; shape and bytes disagree; tensors overlap, leave gaps, or end before or after the
      file does.
    OSError: if the file cannot be read.
  """
  with open(path, 'rb') as file:
    size = os.fstat(file.fileno()).st_size
    return parse(memoryview(file.read(8 + MAX_HEADER_BYTES)), size, str(path))


def check_name(name: str, where: str) -> None:
  """Raises ValueError unless a tensor may have that name."""
  if not KEY.fullmatch(name) or '..' in name or name.startswith('/'):
    rule = f"it must match {KEY.pattern}, without '..' or a leading '/'"
    raise ValueError(f'{where}: tensor name {name[:80]!r} is not allowed; {rule}.')


def parse(
  content: memoryview, size: int, where: str, check: Callable[[str, str], None] = check_name
) -> Header:
  """The header in the first bytes of a file of `size` bytes; errors, as in `check_header`, name it.

  The content is the whole header at least, or all that is allowed of one. `check` takes a name and
  a place, and raises ValueError for a name that is not allowed.
  """
  length = check_length(content, size, where)
  fields = files.parse_json(bytes(content[8 : 8 + length]), f'The header of {where}')
  if not isinstance(fields, dict):
    raise ValueError(f'{where} has a header that is not a JSON object.')
  metadata = fields.pop('__metadata__', {})
  if not isinstance(metadata, dict) or any(type(value) is not str for value in metadata.values()):
    raise ValueError(f'{where} has metadata that are not text.')
  tensors = {}
  base = stop = 8 + length
  for name, entry in fields.items():
    check(name, where)
    tensors[name] = _tensor(entry, base, stop, f'{where}: tensor {name!r}')
    stop = tensors[name].stop
  if stop != size:
    ends = f'its tensors end at byte {stop}; it was truncated or added to'
    raise ValueError(f'{where} is {size} bytes long, but {ends}.')
  return Header(tensors, metadata)


def check_length(content: bytes | memoryview, size: int, where: str) -> int:
  """The length of the header in bytes; as `parse`."""
  if size < 8:
    raise ValueError(f'{where} is {size} bytes long, too short for a header.')
  (length,) = struct.unpack('<Q', content[:8])
  if length > min(size - 8, MAX_HEADER_BYTES):
    allowed = f'the file has {size}, and {MAX_HEADER_BYTES} are allowed'
    raise ValueError(f'{where} announces a header of {length} bytes; {allowed}.')
  return length


def _tensor(entry: Any, base: int, start: int, where: str) -> Tensor:
  """One tensor, which must begin at byte `start` of the file."""
  if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
    raise ValueError(f'{where} must have dtype, shape and data_offsets only.')
  name = str(entry['dtype'])[:20]
  if entry['dtype'] != name or name not in DTYPES:
    raise ValueError(f'{where} has dtype {name!r}; allowed: {", ".join(DTYPES)}.')
  dtype = DTYPES[name]
  for field in ('shape', 'data_offsets'):
    if not isinstance(entry[field], list) or not all(
      type(number) is int and 0 <= number < 1 << 63 for number in entry[field]
    ):
      raise ValueError(f'{where} has a {field} that is not a list of sizes.')
  shape, offsets = tuple(entry['shape']), entry['data_offsets']
  if len(offsets) != 2 or offsets[0] != start - base:
    before = f'{start - base}, where the tensor before it ends'
    raise ValueError(f'{where} has data_offsets {offsets[:3]}, which do not begin at {before}.')
  # Python integers do not overflow, however long the shape is.
  if (size := offsets[1] - offsets[0]) != math.prod(shape) * dtype.itemsize:
    raise ValueError(f'{where} has {size} bytes, which is not its shape {shape[:8]} of {name}.')
  return Tensor(dtype, shape, start, base + offsets[1])


def save(
  path: pathlib.Path | str, tensors: typing.Params, metadata: Mapping[str, Any] | None = None
) -> str:
  """Writes a file in one step, in place of an older one: it is there whole, or not at all.

  Args:
    path: of the file.
    tensors: name -> array, of any strides. Names match `KEY`, without '..'.
    metadata: JSON values, stored as canonical JSON; for information only.

  Returns:
    SHA-256 of the file. Equal tensors and metadata give equal bytes.

  Raises:
    ValueError: for a name or dtype that is not allowed.
    OSError: if the file cannot be written, or reads back differently.
  """
  path = pathlib.Path(path)
  parts = _parts(tensors, digest.canonical_json(dict(metadata or {})).decode())
  hasher = hashlib.sha256()
  try:
    with files.replacing(path) as file:
      for part in parts:
        for start in range(0, len(part), _AT_ONCE):  # It is in the cache when it is copied.
          piece = part[start : start + _AT_ONCE]
          hasher.update(piece)
          file.write(piece)
      file.flush()
      written, _ = open_mapped(file.name)
      if any(not _are_equal(written[name], value) for name, value in tensors.items()):
        raise OSError(errno.EIO, 'it reads back with other values')
  except OSError as error:
    raise OSError(error.errno, f'{path} was not written, {error.strerror or error}') from error
  sync_folder(path.parent)
  return hasher.hexdigest()


def _are_equal(a: np.ndarray, b: typing.Array) -> bool:
  """Whether two arrays have equal bytes, whatever their strides."""
  b = np.asarray(b)
  if (a.dtype.name, a.shape) != (b.dtype.name, b.shape):
    return False
  b = b.astype(a.dtype, order='C', copy=False)
  a, b = (array.reshape(-1).view(np.uint8) for array in (a, b))
  words = len(a) // 8 * 8  # Far fewer comparisons.
  return np.array_equal(a[:words].view(np.uint64), b[:words].view(np.uint64)) and np.array_equal(
    a[words:], b[words:]
  )


def pack(tensors: typing.Params, text: str) -> bytes:
  """The bytes of a file whose metadata are a text of canonical JSON; errors as in `save`."""
  return b''.join(_parts(tensors, text))


def _parts(tensors: typing.Params, text: str) -> list[bytes | np.ndarray]:
  """The bytes of a file: those that the library writes, without its copies of large arrays."""
  arrays = {}
  for name, value in tensors.items():
    check_name(name, 'tensors')
    arrays[name] = digest.contiguous(value)
    if (dtype := arrays[name].dtype) not in _NAMES:
      allowed = f'a safetensors file cannot hold; allowed: {", ".join(DTYPES)}'
      raise ValueError(f'{name} has dtype {dtype}, which {allowed}.')
  ranks = {dtype: rank for rank, dtype in enumerate(_ORDER)}
  ordered = sorted(arrays, key=lambda name: (ranks[_NAMES[arrays[name].dtype]], name))
  fields: dict[str, Any] = {'__metadata__': {METADATA_KEY: text}}
  start = 0
  for name in ordered:
    array = arrays[name]
    fields[name] = {
      'dtype': _NAMES[array.dtype],
      'shape': list(array.shape),
      'data_offsets': [start, start + array.nbytes],
    }
    start += array.nbytes
  head = json.dumps(fields, separators=(',', ':'), ensure_ascii=False).encode()
  head += b' ' * (-len(head) % 8)
  content = struct.pack('<Q', len(head)) + head
  check_length(content[:8], len(content) + start, 'tensors')
  return [content, *(arrays[name].reshape(-1).view(np.uint8) for name in ordered)]


def open_mapped(path: pathlib.Path | str) -> tuple[typing.Params, dict[str, Any]]:
  """Opens tensors, which may hold NaN, and metadata of `save`; a slice is read when it is used.

  Raises:
    ValueError: as `check_header`, or if the metadata are not one key of canonical JSON.
    OSError: if the file cannot be read.
  """
  header = check_header(path)
  # Not safe_open, which gives ranges only: a store reads scattered rows.
  content = np.memmap(path, mode='r', dtype=np.uint8)
  text = _metadata_text(header, str(path))
  return views(header, content), _decode_metadata(text, str(path))


def unpack(content: bytes | memoryview, where: str) -> tuple[typing.Params, str]:
  """Reads what `pack` gave, called `where` in errors: read-only views, and the metadata as text.

  Raises ValueError as `open_mapped`, but the text is not looked into.
  """
  header = parse(memoryview(content), len(content), where)
  array = np.frombuffer(content, np.uint8)
  return views(header, array), _metadata_text(header, where)


def sync_folder(path: pathlib.Path) -> None:
  """Makes renames in a folder durable."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def views(header: Header, content: np.ndarray) -> typing.Params:
  """Arrays over the bytes [n] uint8 of a whole file."""
  return {
    name: content[tensor.start : tensor.stop].view(tensor.dtype).reshape(tensor.shape)
    for name, tensor in header.tensors.items()
  }


def _metadata_text(header: Header, where: str) -> str:
  if set(header.metadata) != {METADATA_KEY}:
    found = sorted(header.metadata)[:5]
    raise ValueError(f'{where} has metadata {found}; a file of wsjax has {METADATA_KEY!r} alone.')
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
