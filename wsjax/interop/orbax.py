"""Checkpoints of Orbax: trees of arrays in a folder."""

import math
import pathlib
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from wsjax.interop import checkpoint
from wsjax.interop import layout as layout_lib

_MAX_UNPACKED = 1 << 30


def read(path: pathlib.Path, id: str) -> Iterator[checkpoint.Checkpoint]:
  """Reads a folder that a StandardCheckpointer or PyTreeCheckpointer wrote.

  Raises:
    ValueError: naming the folder, if Orbax does not read it.
  """
  import orbax.checkpoint as ocp  # Slow to import.

  try:
    handler = ocp.PyTreeCheckpointHandler()
    with ocp.Checkpointer(handler) as checkpointer:
      found = checkpointer.metadata(path.absolute())
      tree = getattr(found, 'item_metadata', found)
      tree = getattr(tree, 'tree', tree)
      size = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))
      stored = sum(file.stat().st_size for file in path.rglob('*') if file.is_file())
      if size > max(_MAX_UNPACKED, 64 * stored):
        raise ValueError(f'it unpacks to {size} bytes')
      as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
      restored = checkpointer.restore(path.absolute(), restore_args=as_numpy)
    tensors = {name: np.asarray(array) for name, array in layout_lib.flat(restored)}
  except Exception as error:  # It raises whatever TensorStore and JSON do.
    raise ValueError(f'{path} is not a checkpoint that Orbax reads: {error}.') from error
  if any(array.dtype.kind not in 'fiubV' for array in tensors.values()):
    raise ValueError(f'{path} holds something else than arrays of numbers.')
  yield checkpoint.Checkpoint(id, tensors, None, str(path))


def write(path: pathlib.Path, params: Mapping[str, np.ndarray]) -> None:
  """Writes the nested tree that Flax has: 'Dense_0/kernel' is inside 'Dense_0'."""
  import orbax.checkpoint as ocp

  tree: dict[str, object] = {}
  for name, array in params.items():
    *outer, last = name.split('/')
    place = tree
    for part in outer:
      place = place.setdefault(part, {})
    place[last] = np.asarray(array)
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path.absolute(), tree)
