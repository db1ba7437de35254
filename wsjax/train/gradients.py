"""Gradients of a loss over a mesh: in parts, in float32 or bfloat16.

Whatever the devices and the mode, a step is the same: a batch of B examples is cut into B / m parts
of m examples, part p has the key fold_in(key, p), and the gradient is the mean over parts. Where m
does not suit the devices or the mode this is an error: another m would be another step.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import typing

PARALLEL = ('jit', 'shard_map', 'pmap')
COMPUTE_DTYPES = ('float32', 'bfloat16')
AXIS = 'data'

# (params, batch of arrays [b, ...], key) -> (scalar loss, metrics).
Loss = Callable[[typing.PyTree, typing.PyTree, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
# The same -> ((loss, metrics), gradients).
Gradient = Callable[..., tuple[Any, typing.PyTree]]


def make(
  loss: Loss,
  mesh: Mesh,
  *,
  batch_size: int,
  microbatch: int = 0,
  parallel: str = 'jit',
  compute_dtype: str = 'float32',
) -> Gradient:
  """The gradient of a batch that lies over the axis 'data' of a mesh.

  Args:
    loss: a mean over examples, where it is taken in more than one part.
    mesh: its axis 'data' has D devices.
    batch_size: B examples, over all devices.
    microbatch: m examples of a part, at most B; memory is that of one part. 0 is B.
    parallel: 'jit', where the compiler cuts the examples of a part over the devices, so D divides
      m, and sums the gradient over devices once a part; 'shard_map', where every device takes whole
      parts, so D divides B / m,
      and the sum over devices is taken once a step; 'pmap', the same inside `jax.pmap` over 'data',
      which the caller puts around it.
    compute_dtype: of parameters, examples and activations inside the loss; parameters, gradients
      and the loss are float32 outside.

  Returns:
    (params, batch, key) -> ((loss, metrics), gradients). With 'pmap' the batch is that of the
    device.

  Raises:
    ValueError: for an unknown mode or type, or sizes that do not divide.
  """
  if parallel not in PARALLEL:
    raise ValueError(f'train.parallel is {parallel!r}; allowed: {", ".join(PARALLEL)}.')
  if compute_dtype not in COMPUTE_DTYPES:
    raise ValueError(
      f'train.compute_dtype is {compute_dtype!r}; allowed: {", ".join(COMPUTE_DTYPES)}.'
    )
  parts = _num_parts(batch_size, microbatch, parallel, mesh.shape[AXIS])
  if compute_dtype != 'float32':
    loss = _computed_in(loss, jnp.dtype(compute_dtype))
  gradient = jax.value_and_grad(loss, has_aux=True)
  if parallel == 'jit':
    if parts == 1:
      return gradient
    over_data = NamedSharding(mesh, P(AXIS))
    return _mean_of_parts(gradient, parts, parts, over_data)
  local = _mean_of_parts(gradient, parts, parts // mesh.shape[AXIS])

  def of_device(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    return jax.lax.pmean(local(params, batch, key), AXIS)

  if parallel == 'pmap':
    return of_device
  return jax.shard_map(
    of_device, mesh=mesh, in_specs=(P(), P(AXIS), P()), out_specs=P(), check_vma=False
  )


def wished(model: Any, batch_size: int) -> int:
  """The `microbatch` of a model on CPU, if it divides; else 0, which is all.

  Small parts keep activations in the cache of a CPU; accelerators have none, so there the noise of
  such a model is another, unless the config says the size.
  """
  size = getattr(model, 'microbatch', 0)
  if not size or jax.default_backend() != 'cpu' or batch_size % size:
    return 0
  return size


def _num_parts(batch_size: int, microbatch: int, parallel: str, devices: int) -> int:
  """B / m; raises ValueError unless the sizes divide."""
  size = min(microbatch, batch_size) or batch_size
  parts, rest = divmod(batch_size, size)
  if rest:
    raise ValueError(f'A batch of {batch_size} does not divide into microbatches of {size}.')
  # What is cut over the devices: examples of a part, or parts.
  cut = size if parallel == 'jit' else parts
  if cut % devices:
    what = 'The examples of a microbatch' if parallel == 'jit' else 'Parts'
    raise ValueError(
      f'{what} do not divide over {devices} devices: a batch of {batch_size} '
      f'has {parts} microbatches of {size}. Set train.microbatch, to '
      + (
        f'a multiple of {devices}.'
        if parallel == 'jit'
        else f'{batch_size // devices} or a divisor of it.'
      )
    )
  return parts


def _computed_in(loss: Loss, dtype: jnp.dtype) -> Loss:
  """A loss whose inside has another type; casting back is its derivative."""

  def to(dtype: jnp.dtype, tree: typing.PyTree) -> typing.PyTree:
    return jax.tree.map(
      lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )

  def computed(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    return to(jnp.float32, loss(to(dtype, params), to(dtype, batch), key))

  return computed


def _mean_of_parts(
  gradient: Gradient, parts: int, mine: int, over_data: NamedSharding | None = None
) -> Gradient:
  """Mean over the `mine` of all parts that a batch here has.

  Args:
    gradient: of one part.
    parts: of the whole batch; a single one has the key of the step itself.
    mine: parts here: all of them, or those of a device of the axis 'data'.
    over_data: how the examples of a part lie on devices, if the compiler cuts.
  """

  def mean(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    if parts == 1:
      return gradient(params, batch, key)
    first = 0 if mine == parts else mine * jax.lax.axis_index(AXIS)
    batch = jax.tree.map(lambda x: x.reshape(mine, -1, *x.shape[1:]), batch)
    of_part = functools.partial(gradient, params)

    def add(total: typing.PyTree, part: typing.PyTree) -> tuple:
      number, examples = part
      if over_data is not None:
        examples = jax.lax.with_sharding_constraint(examples, over_data)
      own = of_part(examples, jax.random.fold_in(key, number))
      return jax.tree.map(jnp.add, total, own), None

    shapes = jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], batch), key)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, (first + jnp.arange(mine), batch))
    return jax.tree.map(lambda x: x / mine, total)

  return mean
