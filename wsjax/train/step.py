"""One compiled block of training steps over a mesh of devices."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from wsjax import typing
from wsjax.train import gradients
from wsjax.zoo import shuffle

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
  return shuffle.permutation(jax.random.fold_in(key, epoch), places, size)


def keys_of_run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Splits the key of a run into one for the order of examples and one for noise."""
  return tuple(jax.random.split(key))


def make_train_block(
  loss: gradients.Loss,
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
    parallel: mode of `gradients.make`; 'pmap' needs a single process.
    **precision: microbatch and compute_dtype of `gradients.make`.

  Returns:
    (state, data, number of steps) -> (state, metrics [steps]). Data are arrays with leading axis
    [N]. The state is donated; the number is static.

  Raises:
    ValueError: if the mesh has no axis 'data', the mode does not allow the sharding or streaming,
      or as `gradients.make`.
  """
  if 'data' not in mesh.shape:
    raise ValueError(f'The mesh has no axis data; got {dict(mesh.shape)}.')
  gradient = gradients.make(loss, mesh, batch_size=batch_size, parallel=parallel, **precision)
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

    def take_next(state: TrainState, _):
      indices = cut(batch_indices(order_key, state.step, size, batch_size))
      batch = jax.tree.map(lambda x: x[indices], data)
      if parallel != 'pmap':
        batch = jax.lax.with_sharding_constraint(batch, over_data)
      return take(state, batch)

    return jax.lax.scan(take_next, state, length=num_steps)

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

  axes = {'axis_name': gradients.AXIS, 'in_axes': (0, None, None), 'out_axes': None}
  ranks = jax.device_put(jnp.arange(devices), NamedSharding(mesh, P('data')))
  return functools.partial(jax.pmap(block, static_broadcasted_argnums=3, **axes), ranks)
