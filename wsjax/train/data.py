"""Data of a block of steps: all examples on every device, or only the batches of the block."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import typing
from wsjax.train import step

# (first step, number of steps) -> data of the block.
BlockData = Callable[[int, int], typing.PyTree]


def on_device(data: typing.PyTree, mesh: Mesh) -> BlockData:
  """Puts all data, arrays [N, ...] equal in all processes, on every device, once."""
  placed = place(data, NamedSharding(mesh, P()))
  return lambda done, count: placed


def from_host(data: typing.PyTree, mesh: Mesh, *, key: jax.Array, batch_size: int) -> BlockData:
  """Puts on each device its examples of the batches of a block.

  Only these rows of the data [N, ...] are read, so arrays may be memory-mapped, and a process reads
  no rows for the devices of another. The axis 'data' of the mesh splits the batches of `batch_size`
  examples; the key is that of the run.
  """
  order_key, _ = step.keys_of_run(key)
  size = len(jax.tree.leaves(data)[0])
  sharding = NamedSharding(mesh, P(None, 'data'))
  all_indices = jax.jit(jax.vmap(lambda s: step.batch_indices(order_key, s, size, batch_size)))

  def block_data(done: int, count: int) -> typing.PyTree:
    indices = np.asarray(all_indices(jnp.arange(done, done + count)))

    def of_array(array: np.ndarray) -> jax.Array:
      shape = (count, batch_size, *array.shape[1:])
      return jax.make_array_from_callback(
        shape, sharding, lambda part: np.asarray(array[indices[part[:2]]])
      )

    return jax.tree.map(of_array, data)

  return block_data


def place(tree: typing.PyTree, sharding: NamedSharding) -> typing.PyTree:
  """Global arrays from values that every process has as a whole."""
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)
  return jax.tree.map(
    lambda x: jax.make_array_from_callback(np.shape(x), sharding, lambda part: np.asarray(x)[part]),
    tree,
  )
