"""safetensors files of others; what may stand in their headers is held to less than in a zoo."""

import functools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import safetensors.numpy

from wsjax import files
from wsjax.interop import checkpoint
from wsjax.zoo.store import digest, safetensors_io

# 'format' in the metadata -> layout.
_LAYOUTS = {'pt': 'torch', 'flax': 'jax'}
_BEYOND = bytearray(1)
_NAME = re.compile(r'[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}')


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads a file; a large one is mapped into memory."""
  header, content = _open(path)
  tensors = safetensors_io.views(header, content)
  yield checkpoint.Checkpoint(id, tensors, _layout(header), str(path))


def metadata(path: pathlib.Path | str) -> Mapping[str, str]:
  """The metadata of a file; raises ValueError if it is not of this format."""
  return _open(path)[0].metadata


def _open(path: pathlib.Path | str) -> tuple[safetensors_io.Header, np.ndarray]:
  """The header of a file and all its bytes, [n] uint8."""
  size = os.stat(path).st_size
  content: np.ndarray
  if size > files.MAX_BYTES:
    content = np.memmap(path, mode='r', dtype=np.uint8)
  else:
    content = np.frombuffer(files.read_bytes(path), np.uint8)
  size = len(content)
  length = safetensors_io.check_length(content[:8].tobytes(), size, str(path))
  head = content[: 8 + length].tobytes()
  try:
    header = _header(head, size)
  except ValueError:  # And now by its name.
    header = safetensors_io.parse(memoryview(head), size, str(path), check_name)
  return header, content


def _layout(header: safetensors_io.Header) -> str | None:
  return _LAYOUTS.get(header.metadata.get('format', ''))


def read_stacks(sources: Iterable[checkpoint.Source]) -> Iterator[checkpoint.Stack]:
  """Reads files one after another, those with equal headers that follow each other at once."""
  remaining = list(sources)
  start = 0
  while start < len(remaining):
    header, first = _open(remaining[start].path)
    length = 8 + int.from_bytes(first[:8].tobytes(), 'little')
    rows = min(checkpoint.MAX_ROWS, max(1, checkpoint.MAX_BYTES // len(first)))
    block = remaining[start : start + rows]
    if len(block) == 1:
      content = first[None]
    else:
      width = -(-len(first) // 8) * 8  # Rows begin where any dtype may.
      content = np.empty((len(block), width), np.uint8)
      content[0, : len(first)] = first
      head, count, place = first[:length].tobytes(), 1, memoryview(content).cast('B')
      for start_of_row, source in zip(range(width, content.size, width), block[1:], strict=True):
        if not _fill(place[start_of_row : start_of_row + len(first)], source.path, head):
          break
        count += 1
      content, block = content[:count, : len(first)], block[:count]
    tensors = {
      name: content[:, x.start : x.stop].view(x.dtype).reshape(len(block), *x.shape)
      for name, x in header.tensors.items()
    }
    ids, where = [source.id for source in block], [source.path for source in block]
    yield checkpoint.Stack(ids, tensors, _layout(header), where, [{}] * len(block))
    start += len(block)


def _fill(row: memoryview, path: str, head: bytes) -> bool:
  """Reads a file into a row of bytes if it is exactly as long, and says whether it begins alike."""
  try:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
  except OSError:
    return False  # It is the first of the next stack, and then an error that names it.
  try:
    # A longer file reaches into the byte beyond; of a pipe or a device there is nothing to read.
    if os.readv(descriptor, (row, _BEYOND)) != len(row):
      return False
  except OSError:
    return False
  finally:
    os.close(descriptor)
  return bytes(row[: len(head)]) == head


def write(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
  """Writes a file; equal tensors give equal bytes."""
  arrays = {name: digest.contiguous(array) for name, array in tensors.items()}
  metadata = dict(metadata) if metadata else None
  files.replace(path, safetensors.numpy.save(arrays, metadata))


@functools.lru_cache(maxsize=64)
def _header(head: bytes, size: int) -> safetensors_io.Header:
  """The header; cached, because the files of one zoo begin alike."""
  return safetensors_io.parse(memoryview(head), size, 'the file', check_name)


def check_name(name: str, where: str) -> None:
  """Raises ValueError for a name that is empty, too long or not printable."""
  if not _NAME.fullmatch(name):
    raise ValueError(f'{where}: tensor name {name[:80]!r} is not allowed.')
