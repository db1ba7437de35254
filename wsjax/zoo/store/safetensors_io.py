"""safetensors files, written and read strictly.

The library accepts files in which two readers may see different tensors, and version 0.8.0 writes
wrong values for arrays that are not C-contiguous (safetensors issue 825). So the header is parsed
here before anything is read, and what was written is read back.

Source: the format, https://huggingface.co/docs/safetensors.
"""

import errno
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from wsjax import files, typing
from wsjax.zoo.store import digest, safetensors_header

check_header = safetensors_header.check

# With two metadata keys the bytes of a file change from save to save, so there is one, which holds
# canonical JSON.
METADATA_KEY = 'wsjax'


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
  """The bytes of a file; arguments and errors as in `save`."""
  return pack(tensors, digest.canonical_json(dict(metadata or {})).decode())


def pack(tensors: typing.Params, text: str) -> bytes:
  """As `to_bytes`, for metadata that are canonical JSON text already."""
  arrays = {}
  for name, value in tensors.items():
    safetensors_header.check_name(name, 'tensors')
    arrays[name] = digest.contiguous(value)
    if arrays[name].dtype not in safetensors_header.DTYPES.values():
      raise ValueError(
        f'{name} has dtype {arrays[name].dtype}, which a safetensors file '
        f'cannot hold; allowed: {", ".join(safetensors_header.DTYPES)}.'
      )
  content = safetensors.numpy.save(arrays, {METADATA_KEY: text})
  safetensors_header.check_length(content, len(content), 'tensors')
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
  """As `load`, but nothing is read until a slice of an array is."""
  header = safetensors_header.check(path)
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
  header = safetensors_header.parse(memoryview(content), len(content), where)
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


def _views(header: safetensors_header.Header, content: np.ndarray) -> typing.Params:
  """Arrays over the bytes [n] uint8 of a whole file."""
  return {
    name: content[tensor.start : tensor.stop].view(tensor.dtype).reshape(tensor.shape)
    for name, tensor in header.tensors.items()
  }


def _metadata_text(header: safetensors_header.Header, where: str) -> str:
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
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{where} has broken metadata: {error}.') from error
  if not canonical or not isinstance(metadata, dict):
    raise ValueError(f'{where} has metadata that are not canonical JSON.')
  return metadata
