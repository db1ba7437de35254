"""Gradients of a loss over a mesh, in microbatches, in float32 or bfloat16.

A step does not depend on the devices or the mode: a batch of B examples is split into B / m
microbatches of m examples, microbatch p has the key fold_in(key, p), and the gradient is the mean
over microbatches. An m that does not suit the devices or the mode is an error.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import typing
from wsjax.train import objective as objective_lib

PARALLEL = ('jit', 'shard_map', 'pmap')
COMPUTE_DTYPES = ('float32', 'bfloat16')
AXIS = 'data'

# (params, batch of arrays [b, ...], key) -> (scalar loss, metrics).
Loss = Callable[[typing.PyTree, typing.PyTree, jax.Array], tuple[jax.Array, objective_lib.Metrics]]
# (params, batch, key) -> ((loss, metrics), gradients).
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
  """Gradient function of a batch that is split over the axis 'data' of a mesh.

  Args:
    loss: loss, a mean over examples.
    mesh: mesh with D devices on its axis 'data'.
    batch_size: B examples, over all devices.
    microbatch: m examples, at most B; activations take the memory of one microbatch. 0 is B.
    parallel: 'jit': the compiler splits the examples of a microbatch over the devices, so D divides
      m, and sums the gradient over devices once per microbatch. 'shard_map': every device computes
      whole microbatches, so D divides B / m, and the sum over devices is taken once per step.
      'pmap': as 'shard_map', inside a `jax.pmap` over 'data' that the caller applies.
    compute_dtype: type of parameters, examples and activations inside the loss; parameters,
      gradients and the loss are float32 outside.

  Returns:
    (params, batch, key) -> ((loss, metrics), gradients). With 'pmap' the batch is that of one
    device.

  Raises:
    ValueError: for an unknown mode or type, or sizes that do not divide.
  """
  choices = {'parallel': (parallel, PARALLEL), 'compute_dtype': (compute_dtype, COMPUTE_DTYPES)}
  for name, (value, allowed) in choices.items():
    if value not in allowed:
      raise ValueError(f'train.{name} is {value!r}; allowed: {", ".join(allowed)}.')
  parts = _num_parts(batch_size, microbatch, parallel, mesh.shape[AXIS])
  if compute_dtype != 'float32':
    loss = _cast(loss, jnp.dtype(compute_dtype))
  gradient = jax.value_and_grad(loss, has_aux=True)
  if parallel == 'jit':
    if parts == 1:
      return gradient
    return _mean_over_parts(gradient, parts, parts, NamedSharding(mesh, P(AXIS)))
  local = _mean_over_parts(gradient, parts, parts // mesh.shape[AXIS])

  def on_each_device(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    return jax.lax.pmean(local(params, batch, key), AXIS)

  if parallel == 'pmap':
    return on_each_device
  return jax.shard_map(
    on_each_device, mesh=mesh, in_specs=(P(), P(AXIS), P()), out_specs=P(), check_vma=False
  )


def preferred_microbatch(objective: objective_lib.Objective, batch_size: int) -> int:
  """The `microbatch` of an objective on CPU, if it divides the batch; else 0, the whole batch.

  Small microbatches keep activations in the cache of a CPU. On accelerators the noise of such an
  objective differs, unless the config gives the size.
  """
  size = objective.microbatch
  return 0 if jax.default_backend() != 'cpu' or (size and batch_size % size) else size


def _num_parts(batch_size: int, microbatch: int, parallel: str, devices: int) -> int:
  """B / m; raises ValueError unless the sizes divide."""
  size = min(microbatch, batch_size) or batch_size
  parts, rest = divmod(batch_size, size)
  if batch_size % devices:
    raise ValueError(
      f'A batch of {batch_size} examples does not divide over {devices} devices: set '
      f'train.batch_size to a multiple of {devices}, no larger than the training split.'
    )
  if rest:
    raise ValueError(
      f'train.microbatch: a batch of {batch_size} does not divide into microbatches of {size}.'
    )
  # 'jit' splits the examples of a microbatch over devices, the others whole microbatches.
  if (size if parallel == 'jit' else parts) % devices:
    sizes = [m for m in range(1, batch_size + 1) if batch_size % m == 0]
    allowed = [m for m in sizes if (m if parallel == 'jit' else batch_size // m) % devices == 0]
    raise ValueError(
      f'train.microbatch: {parts} microbatches of {size} examples do not divide over {devices} '
      f'devices with train.parallel {parallel!r}; allowed: {", ".join(map(str, allowed))}.'
    )
  return parts


def _cast(loss: Loss, dtype: jnp.dtype) -> Loss:
  """The loss computed in another type; gradients are cast back."""

  def to(dtype: jnp.dtype, tree: typing.PyTree) -> typing.PyTree:
    return jax.tree.map(
      lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )

  def computed(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    return to(jnp.float32, loss(to(dtype, params), to(dtype, batch), key))

  return computed


def _mean_over_parts(
  gradient: Gradient, parts: int, local: int, over_data: NamedSharding | None = None
) -> Gradient:
  """Mean gradient over the `local` microbatches here, of `parts` in the whole batch.

  A single one has the key of the step itself. `over_data` is the sharding of the examples of a
  microbatch, if the compiler splits them.
  """

  def mean(params: typing.PyTree, batch: typing.PyTree, key: jax.Array):
    if parts == 1:
      return gradient(params, batch, key)
    first = 0 if local == parts else local * jax.lax.axis_index(AXIS)
    batch = jax.tree.map(lambda x: x.reshape(local, -1, *x.shape[1:]), batch)
    of_part = functools.partial(gradient, params)

    def add(total: typing.PyTree, part: typing.PyTree) -> tuple:
      number, examples = part
      if over_data is not None:
        examples = jax.lax.with_sharding_constraint(examples, over_data)
      own = of_part(examples, jax.random.fold_in(key, number))
      return jax.tree.map(jnp.add, total, own), None

    shapes = jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], batch), key)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, (first + jnp.arange(local), batch))
    return jax.tree.map(lambda x: x / local, total)

  return mean
