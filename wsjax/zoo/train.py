"""Training the networks of a zoo: thousands of small networks in one compiled program.

All randomness of network i comes from fold_in(key(seed), i), and on CPU networks are always trained
in groups of one size, so network i is bitwise equal alone, in any chunk, and on any number of
devices. An accelerator trains a chunk at once; there a network depends on its size by rounding.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Bool, Float, Int

from wsjax import distributed, typing
from wsjax.models import model as model_lib
from wsjax.zoo import losses
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo.data import datasets

Recipe = recipe_lib.Recipe
_OF_CLASSIFIERS = ('dropout', 'train_fraction', 'label_noise', 'input_noise', 'shift')
# Random streams of one network; those after them are in losses.py.
_INIT, _HPARAMS, _ORDER = range(3)
# Networks that are trained side by side on one CPU device, in its cache. Language models fill it
# alone.
_CPU_GROUP = 8


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetworks:
  """Networks after training; host arrays.

  Attributes:
    indices: numbers of the networks.
    params: final weights.
    snapshots: step -> weights at that step.
    optimizer: name of the optimizer of each network.
    hparams: 'learning_rate', 'weight_decay' and every other factor of `recipe.FACTORS` in use.
    trace_steps: [t] the snapshots and the last step.
    trace: metric -> [n, t]. 'train_loss' and, of classifiers, 'train_accuracy' are means over the
      batches since the last trace step, of at most one epoch, on examples and labels as trained on;
      'val_loss' (nats) and 'val_accuracy', NaN without a val split; 'psnr' (dB) of images.
    diverged: whether a final weight or loss is not finite.
    seen: which examples of the training split a network has seen; None is all of them.
  """

  indices: Int[np.ndarray, ' n']
  params: typing.StackedParams
  snapshots: dict[int, typing.StackedParams]
  optimizer: np.ndarray
  hparams: dict[str, Float[np.ndarray, ' n']]
  trace_steps: tuple[int, ...]
  trace: dict[str, Float[np.ndarray, 'n t']]
  diverged: Bool[np.ndarray, ' n']
  seen: Bool[np.ndarray, 'n examples'] | None = None


def train_networks(
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  recipe: Recipe,
  indices: Sequence[int] | Int[np.ndarray, ' n'],
  *,
  seed: int,
) -> TrainedNetworks:
  """Trains networks from scratch; each is a function of the seed of the zoo and its index alone.

  They are classifiers, or minimize the loss of the data set where it has one.

  Raises:
    ValueError: if a batch is larger than the training split, an index has no code in a data set
      that has them, or the recipe has factors of classifiers beside a loss of its own.
  """
  data = _data(dataset, recipe, indices)
  return _train(architecture, data, recipe, indices, seed, None, dataset.loss)


def finetune(
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  params: typing.StackedParams,
  recipe: Recipe,
  *,
  steps: int,
  seed: int,
) -> typing.StackedParams:
  """Trains given networks for some more steps, which may be 0; the optimizer starts anew.

  `steps` and `snapshots` of the recipe are not used. The seed is that of the order of the data and
  of drawn hyper-parameters.

  Raises:
    ValueError: if `params` do not fit the architecture, or a batch is larger than the training
      split.
  """
  architecture.spec.check(params, stacked=True)
  if steps == 0:
    return {path: np.asarray(array) for path, array in params.items()}
  recipe = dataclasses.replace(recipe, steps=steps, snapshots=())
  indices = np.arange(len(next(iter(params.values()))))
  data = _data(dataset, recipe, indices)
  return _train(architecture, data, recipe, indices, seed, params, dataset.loss).params


def fit_images(
  architecture: model_lib.Model,
  images: Float[np.ndarray, 'num_images height width channels'],
  recipe: Recipe,
  indices: Sequence[int] | Int[np.ndarray, ' n'],
  *,
  seed: int,
  initial: typing.StackedParams | None = None,
) -> TrainedNetworks:
  """Fits network i to image i: one implicit representation (INR) per image.

  Images are in [0, 1]. Every step sees every pixel, whatever the `batch_size`. Initial weights are
  in the order of `indices`; None draws them.

  Raises:
    ValueError: for an index that has no image, or a recipe with factors of classifiers.
  """
  indices = np.asarray(indices)
  if indices.size and not 0 <= indices.min() <= indices.max() < len(images):
    given = f'indices up to {indices.max()} and {len(images)} images'
    raise ValueError(f'Network i is fitted to image i; got {given}.')
  if recipe.uses(*_OF_CLASSIFIERS):
    names = ', '.join(_OF_CLASSIFIERS)
    raise ValueError(f'Networks that fit images have none of {names}; got {recipe}.')
  flat = images.reshape(len(images), -1, images.shape[-1])
  data = {'inputs': coordinates(*images.shape[1:3]), 'targets': flat}
  return _train(architecture, data, recipe, indices, seed, initial)


def coordinates(height: int, width: int) -> Float[np.ndarray, 'pixels 2']:
  """Pixel centres of an image in [-1, 1]^2, row by row: (vertical, horizontal)."""
  axes = [(2 * np.arange(size, dtype=np.float32) + 1) / size - 1 for size in (height, width)]
  return np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def initial_params(
  architecture: model_lib.Model, recipe: Recipe, indices: Int[typing.Array, ' n'], seed: int
) -> typing.StackedParams:
  """Weights of the networks of a zoo before their first step, which no zoo keeps."""

  def one(index: jax.Array) -> typing.Params:
    key = jax.random.key(seed)
    network_key = jax.random.fold_in(key, index)
    hparams = recipe.draw(jax.random.fold_in(network_key, _HPARAMS))
    return _init(architecture, recipe, key, network_key, hparams)

  return jax.vmap(one)(indices)


def program(
  architecture: model_lib.Model,
  recipe: Recipe,
  optimizer: str,
  n: int,
  loss: Callable[..., Any] | None = None,
) -> tuple[Callable[..., dict[str, Any]], Int[np.ndarray, ' m']]:
  """The compiled program for n networks of one optimizer, and their padding.

  The program is (key, data, networks with leading axis [m]) -> results. The padding tells which of
  the n networks the m are: the last one is repeated, so that each device has whole groups.
  """
  on_cpu = jax.default_backend() == 'cpu'
  num_devices = jax.device_count()
  group = -(-n // num_devices)
  if on_cpu:
    group = 1 if architecture.task == 'language_modelling' else _CPU_GROUP
  if jax.process_count() == 1:  # With several, each takes part in every call.
    num_devices = min(num_devices, -(-n // group))
  whole = group * num_devices
  padding = np.minimum(np.arange(-(-n // whole) * whole), n - 1)
  return _program(architecture, recipe, optimizer, group, num_devices, loss), padding


def _data(
  dataset: datasets.Dataset, recipe: Recipe, indices: Sequence[int] | np.ndarray
) -> dict[str, np.ndarray]:
  """The arrays that classifiers are trained on; checks that they suffice."""
  data = {part: getattr(dataset, part) for part in ('train_x', 'train_y', 'val_x', 'val_y')}
  if dataset.codes is not None:
    data['codes'] = dataset.codes
    if len(indices) and not 0 <= min(indices) <= max(indices) < len(dataset.codes):
      raise ValueError(
        f'Network i learns code i; got indices up to {max(indices)} and {len(dataset.codes)} codes.'
      )
  if dataset.loss is not None and recipe.uses(*_OF_CLASSIFIERS):
    names = ', '.join(_OF_CLASSIFIERS)
    raise ValueError(f'{dataset.name} has a loss of its own, so the recipe has none of {names}.')
  if recipe.batch_size > len(dataset.train_y):
    raise ValueError(
      f'recipe.batch_size is {recipe.batch_size}, more than the {len(dataset.train_y)} examples of '
      f'the training split of {dataset.name}.'
    )
  return data


def _train(
  architecture: model_lib.Model,
  data: dict[str, np.ndarray],
  recipe: Recipe,
  indices: Sequence[int] | np.ndarray,
  seed: int,
  initial: typing.StackedParams | None,
  loss: Callable[..., Any] | None = None,
) -> TrainedNetworks:
  """One compiled call per optimizer; its networks are put back into order."""
  distributed.require_jax_defaults()
  indices = np.asarray(indices, np.int32)
  if indices.ndim != 1 or not indices.size:
    raise ValueError(f'indices must be [n] with n >= 1; got {indices.shape}.')
  names = np.array(recipe.optimizers)[indices % len(recipe.optimizers)]
  rows, parts = [], []
  for name in recipe.optimizers:
    if not (chosen := np.flatnonzero(names == name)).size:
      continue
    run, padding = program(architecture, recipe, name, len(chosen), loss)
    padded = chosen[padding]
    networks = (indices[padded],)
    if initial is not None:
      networks += ({k: np.asarray(v)[padded].astype(np.float32) for k, v in initial.items()},)
    result = distributed.everywhere(run(jax.random.key(seed), data, networks))
    parts.append(jax.tree.map(lambda array: array[: len(chosen)], result))
    rows.append(chosen)
  order = np.argsort(np.concatenate(rows))
  result = jax.tree.map(lambda *part: np.concatenate(part)[order], *parts)
  *kept, params = result['weights']
  finite = [np.isfinite(a).reshape(len(a), -1).all(1) for a in params.values()]
  finite.append(np.isfinite(result['trace']['train_loss'][:, -1]))
  return TrainedNetworks(
    indices=indices,
    params=params,
    snapshots=dict(zip(recipe.snapshots, kept, strict=True)),
    optimizer=names,
    hparams=result['hparams'],
    trace_steps=(*recipe.snapshots, recipe.steps),
    trace=result['trace'],
    diverged=~np.all(finite, axis=0),
    seen=result['seen'],
  )


@functools.lru_cache(maxsize=32)
def _program(
  architecture: model_lib.Model,
  recipe: Recipe,
  optimizer: str,
  group: int,
  num_devices: int,
  loss: Callable[..., Any] | None = None,
) -> Callable[[jax.Array, dict[str, np.ndarray], tuple], dict[str, Any]]:
  """The compiled program (key, data, networks with leading axis [n]) -> results."""
  one = functools.partial(_train_one, architecture, recipe, optimizer, loss)

  def many(key: jax.Array, data: dict, networks: tuple) -> dict[str, Any]:
    grouped = jax.tree.map(lambda array: array.reshape(-1, group, *array.shape[1:]), networks)
    train_group = jax.vmap(functools.partial(one, key, data))
    results = jax.lax.map(lambda group: train_group(*group), grouped)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), results)

  if num_devices > 1:
    devices = jax.devices()[:num_devices]
    mesh = jax.make_mesh((num_devices,), ('networks',), (AxisType.Auto,), devices=devices)
    everywhere, split = PartitionSpec(), PartitionSpec('networks')
    many = jax.shard_map(
      many, mesh=mesh, in_specs=(everywhere, everywhere, split), out_specs=split, check_vma=False
    )
  return jax.jit(many)


def _train_one(
  architecture: model_lib.Model,
  recipe: Recipe,
  optimizer: str,
  own_loss: Callable[..., Any] | None,
  key: jax.Array,
  data: dict[str, jax.Array],
  index: jax.Array,
  initial: typing.Params | None = None,
) -> dict[str, Any]:
  """Trains network `index`; traced once, under vmap."""
  network_key = jax.random.fold_in(key, index)
  hparams = recipe.draw(jax.random.fold_in(network_key, _HPARAMS))
  params = initial
  if params is None:
    params = _init(architecture, recipe, key, network_key, hparams)
  transformation = recipe.transformation(optimizer, hparams)
  order_key = jax.random.fold_in(key if recipe.shared_batches else network_key, _ORDER)
  if 'inputs' in data:
    task = losses.fit_image(architecture, data, index)
  elif own_loss is not None:
    task = losses.own(architecture, data, recipe, own_loss, order_key=order_key)
  else:
    if 'codes' in data:
      code = data['codes'][index]
      data = data | {part: code[data[part]] for part in ('train_y', 'val_y')}
    task = losses.classify(
      architecture, data, recipe, hparams, network_key=network_key, order_key=order_key
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
    stop = start + count * length
    batches = jax.tree.map(
      lambda array: array[start:stop].reshape(count, length, *array.shape[1:]), task.batches
    )
    start = stop
    carry, (kept, measured) = jax.lax.scan(
      functools.partial(segment, length=length), carry, batches, length=count
    )
    weights += [jax.tree.map(lambda w, i=i: w[i], kept) for i in range(count)]
    trace.append(measured)
  trace = jax.tree.map(lambda *values: jnp.concatenate(values), *trace)
  return {'weights': weights, 'hparams': hparams, 'trace': trace, 'seen': task.seen}


def _init(
  architecture: model_lib.Model,
  recipe: Recipe,
  key: jax.Array,
  network_key: jax.Array,
  hparams: dict[str, jax.Array],
) -> typing.Params:
  """Weights of one network before its first step; `key` is that of the zoo."""
  init_key = key if recipe.shared_init else network_key
  params = architecture.init(jax.random.fold_in(init_key, _INIT))
  if recipe.uses('init_scale'):
    scale = hparams['init_scale']
    params = {k: scale * v if k.endswith('/kernel') else v for k, v in params.items()}
  return params
