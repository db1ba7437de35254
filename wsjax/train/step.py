"""Gradients over a mesh of devices, and one compiled block of training steps."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from wsjax import typing
from wsjax.train import objective as objective_lib
from wsjax.train import privacy
from wsjax.zoo import losses

PARALLEL = ('jit', 'shard_map', 'pmap')
COMPUTE_DTYPES = ('float32', 'bfloat16')
AXIS = 'data'

# (params, batch of arrays [b, ...], key) -> (scalar loss, metrics).
Loss = Callable[[typing.PyTree, typing.PyTree, jax.Array], tuple[jax.Array, objective_lib.Metrics]]
# (params, batch, key) -> ((loss, metrics), gradients).
Gradient = Callable[..., tuple[Any, typing.PyTree]]


def make_gradient(
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


Metrics = dict[str, jax.Array]


@struct.dataclass
class TrainState:
  """Training state after `step` updates, an int32 scalar.

  Keys and batches are functions of (seed, step), so they are not part of it. `ema` is the
  exponential moving average of `params`, which is evaluated and sampled from.
  """

  step: jax.Array
  params: typing.PyTree
  ema: typing.PyTree
  opt_state: typing.PyTree


Block = Callable[..., tuple[TrainState, Metrics]]


def create(params: typing.PyTree, optimizer: optax.GradientTransformation) -> TrainState:
  """The training state before the first update."""
  # A copy: the state is donated, and no buffer may be donated twice.
  ema = jax.tree.map(jnp.copy, params)
  return TrainState(jnp.int32(0), params, ema, optimizer.init(params))


def batch_indices(
  key: jax.Array, step: jax.Array, size: int, batch_size: int
) -> Int[Array, ' batch']:
  """Indices of the examples of a step, a function of (key, step) alone.

  Every epoch has a new order, without replacement, and leaves out the examples that fill no batch.
  """
  steps_per_epoch = size // batch_size
  epoch, place = jnp.divmod(step, steps_per_epoch)
  places = place * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  return losses.permutation(jax.random.fold_in(key, epoch), places, size)


def keys_of_run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Splits the key of a run into one for the order of examples and one for noise."""
  return tuple(jax.random.split(key))


def make_train_block(
  loss: Loss,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  *,
  key: jax.Array,
  batch_size: int,
  ema_decay: float,
  state_sharding: typing.PyTree = None,
  skip_nonfinite: bool = False,
  streamed: bool = False,
  parallel: str = 'jit',
  private: privacy.Private | None = None,
  public: Loss | None = None,
  **precision,
) -> Block:
  """Compiles many steps into one call.

  Args:
    loss: to minimize.
    optimizer: its state is part of the training state.
    mesh: with an axis 'data', whose size divides the batch.
    key: of the run; step s uses fold_in(key, s).
    batch_size: examples per step, over all devices.
    ema_decay: decay of the average; it starts as a plain mean, so that the initial parameters are
      forgotten. 0 is no average.
    state_sharding: shardings of the training state; None replicates it.
    skip_nonfinite: whether a step with a loss or gradient that is not finite changes nothing, and
      has the metric 'skipped'.
    streamed: whether data are the examples of every step, [steps, b, ...] with b over 'data',
      instead of all examples.
    parallel: mode of `make_gradient`; 'pmap' needs a single process.
    private: how examples are kept private; every device computes the whole batch then.
    public: a further loss without examples, whose gradient needs no noise; only if `private`.
    **precision: microbatch and compute_dtype of `make_gradient`.

  Returns:
    (state, data, number of steps) -> (state, metrics [steps]). Data are arrays with leading axis
    [N]. The state is donated; the number is static.

  Raises:
    ValueError: if the mesh has no axis 'data', the mode does not allow the sharding or streaming,
      or as `make_gradient`.
  """
  if 'data' not in mesh.shape:
    raise ValueError(f'The mesh has no axis data; got {dict(mesh.shape)}.')
  if private is not None:
    gradient = private.gradient(loss, public)
  else:
    gradient = make_gradient(loss, mesh, batch_size=batch_size, parallel=parallel, **precision)
  order_key, noise_key = keys_of_run(key)
  replicated = NamedSharding(mesh, P())
  over_data = NamedSharding(mesh, P('data'))

  def take(state: TrainState, batch: typing.PyTree) -> tuple[TrainState, Metrics]:
    step_key = jax.random.fold_in(noise_key, state.step)
    (value, metrics), grads = gradient(state.params, batch, step_key)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    step = state.step + 1
    # A small model waits for memory more than for arithmetic: without an average there is no
    # second pass over the parameters.
    ema = params
    if ema_decay:
      decay = jnp.minimum(ema_decay, 1 - 1 / step)
      ema = optax.incremental_update(params, state.ema, 1 - decay)
    metrics = {'loss': value} | metrics
    new = TrainState(step, params, ema, opt_state)
    if skip_nonfinite:
      good = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(grads))
      kept = state.replace(step=step)
      new = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, kept)
      metrics['skipped'] = 1 - good.astype(jnp.float32)
    return new, metrics

  def take_many(
    cut: Callable[[jax.Array], jax.Array], state: TrainState, data: typing.PyTree, num_steps: int
  ) -> tuple[TrainState, Metrics]:
    """Scans over the steps; `cut` selects the indices of a device."""
    if streamed:
      return jax.lax.scan(take, state, data, length=num_steps)
    size = len(jax.tree.leaves(data)[0])

    def take_private(state: TrainState, _):
      rows, marked = private.batch(jax.random.fold_in(order_key, state.step))
      return take(state, (jax.tree.map(lambda x: x[rows], data), marked))

    def take_next(state: TrainState, _):
      indices = cut(batch_indices(order_key, state.step, size, batch_size))
      batch = jax.tree.map(lambda x: x[indices], data)
      if parallel != 'pmap':
        batch = jax.lax.with_sharding_constraint(batch, over_data)
      return take(state, batch)

    return jax.lax.scan(take_private if private else take_next, state, length=num_steps)

  if parallel == 'pmap':
    return _pmapped(take_many, mesh, batch_size, state_sharding, streamed)
  data_sharding = NamedSharding(mesh, P(None, 'data')) if streamed else replicated
  state_sharding = replicated if state_sharding is None else state_sharding
  return jax.jit(
    functools.partial(take_many, lambda indices: indices),
    donate_argnums=0,
    static_argnums=2,
    in_shardings=(state_sharding, data_sharding),
    out_shardings=(state_sharding, replicated),
  )


def _pmapped(
  take_many: Block, mesh: Mesh, batch_size: int, state_sharding: typing.PyTree, streamed: bool
) -> Block:
  """The block under `jax.pmap`, with the state of one device in and out."""
  devices = mesh.shape['data']
  whole = jax.tree.leaves(state_sharding)
  if not all(sharding.is_fully_replicated for sharding in whole) or streamed:
    raise ValueError(
      "train.parallel = 'pmap' keeps state and data whole on every device: no train.sharding, "
      "train.fsdp or train.data = 'host'."
    )
  if jax.process_count() > 1 or mesh.size > devices:
    raise ValueError(
      "train.parallel = 'pmap' is for one process and a mesh of the axis data "
      f'alone; got {jax.process_count()} processes and {dict(mesh.shape)}.'
    )
  own = batch_size // devices

  def block(rank: jax.Array, state: TrainState, data: typing.PyTree, n: int):
    def cut(indices: jax.Array) -> jax.Array:
      return jax.lax.dynamic_slice_in_dim(indices, rank * own, own)

    return take_many(cut, state, data, n)

  axes = {'axis_name': AXIS, 'in_axes': (0, None, None), 'out_axes': None}
  ranks = jax.device_put(jnp.arange(devices), NamedSharding(mesh, P('data')))
  return functools.partial(jax.pmap(block, static_broadcasted_argnums=3, **axes), ranks)
