"""The compiled program that trains the networks of a zoo.

`vmap` over a group of nets that fits the cache, `lax.map` over groups, `scan` over steps,
`shard_map` over devices.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec

from wsjax import distributed, typing
from wsjax.models import model as model_lib
from wsjax.zoo import losses
from wsjax.zoo import recipe as recipe_lib

# Streams of randomness of one net; those behind them are in tasks.py.
_INIT, _HPARAMS, _ORDER = range(3)
# Nets that are trained side by side on one device. On CPU their weights, moments and batches stay
# in cache; an accelerator takes all at once.
_CPU_GROUP = 8


def train(
  architecture: model_lib.Model,
  recipe: recipe_lib.Recipe,
  optimizer: str,
  data: dict[str, np.ndarray],
  indices: np.ndarray,
  seed: int,
  initial: typing.StackedParams | None,
) -> dict[str, Any]:
  """Trains nets of one optimizer; pads them to whole groups.

  Args:
    architecture: what they are.
    recipe: how they learn.
    optimizer: one of the recipe's.
    data: train_x, train_y, val_x and val_y to classify, and perhaps codes, the label of every class
      for net i; or inputs [b, d] and targets
      [num_nets, b, c] to fit net i to target i.
    indices: [n] int32, which nets.
    seed: of the zoo.
    initial: weights to start from; None draws them.

  Returns:
    Host arrays with leading axis [n]: 'weights', a list over snapshots and the end; 'hparams', name
    -> [n]; 'trace', metric -> [n, t]; 'seen', None or [n, examples], which of them a net has seen.
  """
  n = len(indices)
  run, padding = program(architecture, recipe, optimizer, n)
  nets = (indices[padding],)
  if initial is not None:
    nets += ({k: v[padding].astype(np.float32) for k, v in initial.items()},)
  result = distributed.everywhere(run(jax.random.key(seed), data, nets))
  return jax.tree.map(lambda array: array[:n], result)


def program(
  architecture: model_lib.Model, recipe: recipe_lib.Recipe, optimizer: str, n: int
) -> tuple[Callable[..., dict[str, Any]], np.ndarray]:
  """The compiled program for n nets, and how they are padded for it.

  Returns:
    (key, data, nets with leading axis [m]) -> results; and [m] which of the n nets these are: the
    last one again, so that each device has whole groups.
  """
  on_cpu = jax.default_backend() == 'cpu'
  num_devices = jax.device_count()
  group = _CPU_GROUP if on_cpu else -(-n // num_devices)
  if jax.process_count() == 1:  # Of several, each takes part in every call.
    num_devices = min(num_devices, -(-n // group))
  whole = group * num_devices
  padding = np.minimum(np.arange(-(-n // whole) * whole), n - 1)
  return _program(architecture, recipe, optimizer, group, num_devices), padding


@functools.partial(jax.jit, static_argnums=(0, 1))
def starts(
  architecture: model_lib.Model, recipe: recipe_lib.Recipe, indices: typing.Array, seed: int
) -> typing.StackedParams:
  """Weights of nets before their first step, which no zoo keeps.

  Args:
    architecture: what they are.
    recipe: how they learn.
    indices: [n] int32, which nets.
    seed: of the zoo.

  Returns:
    path -> [n, ...].
  """

  def one(index: jax.Array) -> typing.Params:
    key = jax.random.key(seed)
    net_key = jax.random.fold_in(key, index)
    hparams = recipe.draw(jax.random.fold_in(net_key, _HPARAMS))
    return _start(architecture, recipe, key, net_key, hparams)

  return jax.vmap(one)(indices)


@functools.lru_cache(maxsize=32)
def _program(
  architecture: model_lib.Model,
  recipe: recipe_lib.Recipe,
  optimizer: str,
  group: int,
  num_devices: int,
) -> Callable[[jax.Array, dict[str, np.ndarray], tuple], dict[str, Any]]:
  """The compiled program (key, data, nets with leading axis [n]) -> results."""
  one = functools.partial(_train_one, architecture, recipe, optimizer)

  def many(key: jax.Array, data: dict, nets: tuple) -> dict[str, Any]:
    grouped = jax.tree.map(lambda array: array.reshape(-1, group, *array.shape[1:]), nets)
    train_group = jax.vmap(functools.partial(one, key, data))
    results = jax.lax.map(lambda nets: train_group(*nets), grouped)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), results)

  if num_devices > 1:
    mesh = jax.make_mesh(
      (num_devices,), ('nets',), axis_types=(AxisType.Auto,), devices=jax.devices()[:num_devices]
    )
    everywhere, split = PartitionSpec(), PartitionSpec('nets')
    many = jax.shard_map(
      many, mesh=mesh, in_specs=(everywhere, everywhere, split), out_specs=split, check_vma=False
    )
  return jax.jit(many)


def _train_one(
  architecture: model_lib.Model,
  recipe: recipe_lib.Recipe,
  optimizer: str,
  key: jax.Array,
  data: dict[str, jax.Array],
  index: jax.Array,
  initial: typing.Params | None = None,
) -> dict[str, Any]:
  """Trains net `index`: traced once, under vmap."""
  net_key = jax.random.fold_in(key, index)
  hparams = recipe.draw(jax.random.fold_in(net_key, _HPARAMS))
  params = initial
  if params is None:
    params = _start(architecture, recipe, key, net_key, hparams)
  transformation = recipe.transformation(optimizer, hparams)
  order_key = jax.random.fold_in(key if recipe.shared_batches else net_key, _ORDER)
  if 'inputs' in data:
    task = losses.fit_image(architecture, data, index)
  else:
    if 'codes' in data:
      data = losses.relabelled(data, index)
    task = losses.classify(
      architecture, data, recipe, hparams, net_key=net_key, order_key=order_key
    )

  def step(carry: tuple, batch: Any) -> tuple[tuple, dict[str, jax.Array]]:
    params, state = carry
    (_, metrics), gradients = jax.value_and_grad(task.loss, has_aux=True)(params, batch)
    updates, state = transformation.update(gradients, state, params)
    return (optax.apply_updates(params, updates), state), metrics

  def segment(carry: tuple, batches: Any, *, length: int) -> tuple[tuple, tuple]:
    carry, metrics = jax.lax.scan(step, carry, batches, length=length)
    means = {k: v[-task.per_epoch :].mean() for k, v in metrics.items()}
    return carry, (carry[0], {**means, **task.measure(carry[0])})

  carry = (params, transformation.init(params))
  weights, trace = [], []
  edges = (0, *recipe.snapshots, recipe.steps)
  # Equal segments in a row are one loop: a hundred would compile for minutes.
  start = 0
  for length, group in itertools.groupby(np.diff(edges).tolist()):
    count = len(list(group))
    batches = jax.tree.map(
      lambda array, shape=(count, length), start=start: array[
        start : start + shape[0] * shape[1]
      ].reshape(*shape, *array.shape[1:]),
      task.batches,
    )
    start += count * length
    carry, (kept, measured) = jax.lax.scan(
      functools.partial(segment, length=length), carry, batches, length=count
    )
    weights += [jax.tree.map(lambda w, i=i: w[i], kept) for i in range(count)]
    trace.append(measured)
  trace = jax.tree.map(lambda *values: jnp.concatenate(values), *trace)
  return {'weights': weights, 'hparams': hparams, 'trace': trace, 'seen': task.seen}


def _start(
  architecture: model_lib.Model,
  recipe: recipe_lib.Recipe,
  key: jax.Array,
  net_key: jax.Array,
  hparams: dict[str, jax.Array],
) -> typing.Params:
  """Weights of one net before its first step; `key` is that of the zoo."""
  init_key = key if recipe.shared_init else net_key
  params = architecture.init(jax.random.fold_in(init_key, _INIT))
  if recipe.uses('init_scale'):
    params = _scale_kernels(params, hparams['init_scale'])
  return params


def _scale_kernels(params: typing.Params, factor: jax.Array) -> typing.Params:
  """Weights with every kernel multiplied."""
  return {
    path: factor * array if path.endswith('/kernel') else array for path, array in params.items()
  }
