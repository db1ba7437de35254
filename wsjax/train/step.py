"""One compiled block of training steps over a mesh of devices."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import typing
from wsjax.train import state as state_lib
from wsjax.zoo import shuffle

# (params, batch of arrays [b, ...], key) -> (scalar loss, metrics).
Loss = Callable[
  [typing.PyTree, typing.PyTree, jax.Array],
  tuple[jax.Array, dict[str, jax.Array]],
]


def make_mesh(axes: Sequence[tuple[str, int]]) -> Mesh:
  """A mesh of all devices.

  Args:
    axes: (name, size) pairs; one size may be -1: the devices that remain.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  names = [name for name, _ in axes]
  sizes = [size for _, size in axes]
  count = jax.device_count()
  known = 1
  for size in sizes:
    known *= abs(size)
  if sizes.count(-1) == 1 and count % known == 0:
    sizes[sizes.index(-1)] = count // known
  elif known != count or -1 in sizes:
    raise ValueError(f'A mesh {dict(axes)} does not fit {count} devices.')
  return jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(names))


def batch_indices(
  key: jax.Array, step: jax.Array, size: int, batch_size: int
) -> jax.Array:
  """Examples of a step: every epoch a new order, without replacement.

  Args:
    key: of the data order.
    step: int scalar.
    size: number of examples; those that fill no batch wait for another epoch.
    batch_size: at most `size`.

  Returns:
    [batch_size] int32, a function of (key, step) alone.
  """
  steps_per_epoch = size // batch_size
  epoch, place = jnp.divmod(step, steps_per_epoch)
  places = place * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  return shuffle.permutation(jax.random.fold_in(key, epoch), places, size)


def make_train_block(
  loss: Loss,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  *,
  key: jax.Array,
  batch_size: int,
  ema_decay: float,
  microbatch: int = 0,
) -> Callable[..., tuple[state_lib.TrainState, dict[str, jax.Array]]]:
  """Compiles many steps into one call.

  Args:
    loss: what is minimised.
    optimizer: its state is part of the train state.
    mesh: has an axis 'data', whose size divides the batch.
    key: of the run; step s uses fold_in(key, s).
    batch_size: examples per step, over all devices.
    ema_decay: of the average; it starts as a plain mean, so that the initial
      parameters are forgotten. 0 is no average.
    microbatch: examples per device whose gradients are taken at once, of a
      loss that is a mean over examples; 0 is all. It must divide the batch of
      a device; a smaller batch is taken whole.

  Returns:
    (state, data, number of steps) -> (state, metrics [steps]). Data are arrays
    with leading axis [N]. The state is donated; the number is static.

  Raises:
    ValueError: if there is no such axis, or the batch does not divide over it.
  """
  if 'data' not in mesh.shape:
    raise ValueError(f'The mesh has no axis data; got {dict(mesh.shape)}.')
  devices = mesh.shape['data']
  if batch_size % devices:
    raise ValueError(
      f'A batch of {batch_size} does not divide over {devices} devices.'
    )
  over_data = NamedSharding(mesh, P('data'))
  replicated = NamedSharding(mesh, P())
  order_key, noise_key = jax.random.split(key)
  gradient = jax.value_and_grad(loss, has_aux=True)
  part = microbatch * devices
  if 0 < part < batch_size:
    if batch_size % part:
      raise ValueError(
        f'A batch of {batch_size} does not divide into microbatches of '
        f'{microbatch} on {devices} devices.'
      )
    gradient = _in_parts(gradient, batch_size // part, over_data)

  @functools.partial(
    jax.jit,
    donate_argnums=0,
    static_argnums=2,
    in_shardings=(replicated, replicated),
    out_shardings=replicated,
  )
  def train_block(state, data, num_steps):
    size = len(jax.tree.leaves(data)[0])

    def train_step(state, _):
      indices = batch_indices(order_key, state.step, size, batch_size)
      batch = jax.lax.with_sharding_constraint(
        jax.tree.map(lambda x: x[indices], data), over_data
      )
      step_key = jax.random.fold_in(noise_key, state.step)
      (value, metrics), gradients = gradient(state.params, batch, step_key)
      updates, opt_state = optimizer.update(
        gradients, state.opt_state, state.params
      )
      params = optax.apply_updates(state.params, updates)
      step = state.step + 1
      # A small model waits for memory more than for arithmetic, so nothing
      # goes over all parameters again that nobody asked for.
      ema = params
      if ema_decay:
        decay = jnp.minimum(ema_decay, 1 - 1 / step)
        ema = optax.incremental_update(params, state.ema, 1 - decay)
      metrics = {'loss': value} | metrics
      return state_lib.TrainState(step, params, ema, opt_state), metrics

    return jax.lax.scan(train_step, state, length=num_steps)

  return train_block


def _in_parts(
  gradient: Callable[..., typing.PyTree], parts: int, over_data: NamedSharding
) -> Callable[..., typing.PyTree]:
  """Means of (loss, metrics) and gradients over equal parts of a batch."""

  def mean(
    params: typing.PyTree, batch: typing.PyTree, key: jax.Array
  ) -> typing.PyTree:
    batch = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add(total: typing.PyTree, part: typing.PyTree) -> tuple:
      number, examples = part
      examples = jax.lax.with_sharding_constraint(examples, over_data)
      own = gradient(params, examples, jax.random.fold_in(key, number))
      return jax.tree.map(jnp.add, total, own), None

    shapes = jax.eval_shape(
      gradient, params, jax.tree.map(lambda x: x[0], batch), key
    )
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, (jnp.arange(parts), batch))
    return jax.tree.map(lambda x: x / parts, total)

  return mean
