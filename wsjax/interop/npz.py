"""Archives of NumPy: one network, or many with names such as 'id:name'."""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from wsjax import files
from wsjax.interop import checkpoint
from wsjax.zoo.store import digest


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads an archive of at most 256 MiB."""
  networks: dict[str, dict[str, np.ndarray]] = {}
  for name, array in files.read_npz(path).items():
    owner, colon, own = name.rpartition(':')
    networks.setdefault(owner if colon else id, {})[own] = array
  if not networks:
    raise ValueError(f'{path} holds no arrays.')
  for owner, tensors in networks.items():
    yield checkpoint.Checkpoint(owner, tensors, None, str(path))


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes an archive.

  Raises:
    ValueError: for a dtype that NumPy does not know by itself, such as bfloat16.
  """
  arrays = {name: digest.contiguous(array) for name, array in tensors.items()}
  if odd := [name for name, array in arrays.items() if array.dtype.isbuiltin != 1]:
    dtype = arrays[odd[0]].dtype
    raise ValueError(f'{path}: {odd[0]} is {dtype}, which .npz cannot hold; use safetensors.')
  with files.replacing(path) as file:
    np.savez(file, **arrays)
