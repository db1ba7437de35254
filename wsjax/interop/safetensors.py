"""safetensors files of others; what may stand in their headers is held to less than in a zoo."""

import functools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import safetensors.numpy

from wsjax import files
from wsjax.interop import checkpoint
from wsjax.zoo.store import digest, safetensors_io

# 'format' in the metadata -> layout.
_LAYOUTS = {'pt': 'torch', 'flax': 'jax'}
_NAME = re.compile(r'[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}')


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads a file; a large one is mapped into memory."""
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
  yield checkpoint.Checkpoint(
    id,
    safetensors_io.views(header, content),
    _LAYOUTS.get(header.metadata.get('format', '')),
    str(path),
  )


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
