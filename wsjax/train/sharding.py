"""Sharding over a mesh: of examples, and of the training state by rules and FSDP."""

import math
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
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


# Pattern of the path of a parameter, such as 'block\\d+/wide/kernel' -> mesh axis or None for each
# of its axes.
Rules = Sequence[tuple[str, Sequence[str | None]]]
# Smaller parameters are replicated: gathering them costs more than it saves.
_MIN_FSDP_SIZE = 1024


def make_mesh(axes: Sequence[tuple[str, int]]) -> Mesh:
  """A mesh of all devices, by (name, size) pairs; one size may be -1, the remaining devices.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  names, sizes = [name for name, _ in axes], [size for _, size in axes]
  count, known = jax.device_count(), math.prod(abs(size) for size in sizes)
  is_wrong = min(sizes, default=0) < -1 or not known
  if not is_wrong and sizes.count(-1) == 1 and count % known == 0:
    sizes[sizes.index(-1)] = count // known
  elif is_wrong or known != count or -1 in sizes:
    raise ValueError(f'train.mesh is {dict(axes)}, which does not fit {count} devices.')
  return jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(names))


def of_state(
  state: typing.PyTree, mesh: Mesh, *, rules: Rules = (), fsdp: bool = False
) -> typing.PyTree:
  """Shardings of a training state.

  Moments of the optimizer and averages have the path of their parameter at the end of their own, so
  a rule for a parameter applies to them too.

  Args:
    state: arrays, or their shapes.
    mesh: mesh of the devices.
    rules: a parameter has the first rule whose pattern is found in its path; one without a rule is
      replicated.
    fsdp: whether parameters of 1024 values and more are also split over 'data', along their longest
      free axis that divides (Rajbhandari et al. 2020, arXiv:1910.02054, stage 3).

  Raises:
    ValueError: if a rule names an axis that the mesh lacks, has more axes than its parameter, does
      not divide it, or applies to no parameter.
  """
  used, names = set(), []

  def of_leaf(path: tuple, leaf: jax.Array) -> NamedSharding:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    names.append(name)
    axes: list[str | None] = [None] * leaf.ndim
    for pattern, wanted in rules:
      if re.search(pattern, name):
        used.add(pattern)
        _check(name, leaf.shape, wanted, mesh)
        axes[: len(wanted)] = wanted
        break
    if fsdp and leaf.size >= _MIN_FSDP_SIZE and 'data' not in axes:
      devices = mesh.shape['data']
      free = [i for i, n in enumerate(leaf.shape) if axes[i] is None and n % devices == 0]
      if free:
        axes[max(free, key=lambda i: leaf.shape[i])] = 'data'
    return NamedSharding(mesh, P(*axes))

  shardings = jax.tree.map_with_path(of_leaf, state)
  if unused := [pattern for pattern, _ in rules if pattern not in used]:
    raise ValueError(
      f'The rule {unused[0]!r} of train.sharding applies to no parameter; there are '
      f'{", ".join(names[:8])} and {max(len(names) - 8, 0)} more.'
    )
  return shardings


def _check(name: str, shape: Sequence[int], wanted: Sequence[str | None], mesh: Mesh) -> None:
  """Raises ValueError unless a rule fits a parameter."""
  rule = f'The rule of train.sharding for {name}'
  if len(wanted) > len(shape):
    raise ValueError(
      f'{rule} has {len(wanted)} axes {tuple(wanted)}; the parameter has shape {tuple(shape)}.'
    )
  for axis, size in zip(wanted, shape, strict=False):
    if axis is None:
      continue
    if axis not in mesh.shape:
      raise ValueError(f'{rule} names the axis {axis!r}; the mesh has {", ".join(mesh.shape)}.')
    if size % mesh.shape[axis]:
      raise ValueError(
        f'{rule} splits {size} values over the {mesh.shape[axis]} devices of {axis!r}, which does '
        'not divide.'
      )
