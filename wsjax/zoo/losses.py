"""Losses that the networks of a zoo minimize, and the examples of every step, shuffled."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo import recipe as recipe_lib

NUM_ROUNDS = 32


def permutation(key: jax.Array, places: jax.Array, size: int) -> jax.Array:
  """Values, int32 in [0, size), of a random permutation at some places in [0, size).

  In each round the places x and (turn - x) mod size are partners, and are swapped if a bit of a
  hash of the larger one is set. Every round is a bijection for any hash.

  Source: Hoang, Morris, Rogaway 2012, arXiv:1208.1176, figure 1 ("swap-or-not"); the round function
    here is a multiplicative hash, which mixes, but is not secret.
  """
  bits = jax.random.bits(key, (2, NUM_ROUNDS), jnp.uint32)

  def swap_or_not(x: jax.Array, round_bits: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
    turn, salt = round_bits
    partner = jnp.where(turn >= x, turn - x, turn + np.uint32(size) - x)
    hashed = jnp.maximum(x, partner) * np.uint32(0x9E3779B1) ^ salt
    hashed = (hashed ^ (hashed >> 15)) * np.uint32(0x85EBCA77)
    hashed = (hashed ^ (hashed >> 13)) * np.uint32(0xC2B2AE3D)
    return jnp.where(hashed >> 31 == 1, partner, x), None

  x = jnp.asarray(places).astype(jnp.uint32)
  rounds = (bits[0] % np.uint32(size), bits[1])
  return jax.lax.scan(swap_or_not, x, rounds)[0].astype(jnp.int32)


# Random streams of one network; those before them are in train.py.
_SUBSET, _WRONG, _STEP = range(3, 6)
# Random streams of one step.
_DROPOUT, _NOISE, _SHIFT = range(3)
_TRAIN = ('train_x', 'train_y')
_VAL_METRICS = ('val_loss', 'val_accuracy')


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """Task of one network, inside the compiled program.

  Attributes:
    loss: (params, batch) -> (loss, metrics to be averaged over an epoch).
    batches: arrays with leading axis [steps], one batch each; None if every step is equal.
    per_epoch: batches of an epoch.
    measure: params -> metrics of these weights.
    seen: which examples the network sees; None is all.
  """

  loss: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
  batches: Any
  per_epoch: int
  measure: Callable[[typing.Params], dict[str, jax.Array]]
  seen: Bool[Array, ' examples'] | None = None


def squared_error(
  model: model_lib.Model, params: typing.Params, batch: tuple[jax.Array, jax.Array]
) -> Float[Array, '']:
  """Mean squared error of one network on a batch (inputs, targets), the loss of regression."""
  x, y = batch
  outputs = model.apply(params, x)
  return jnp.mean((outputs - jnp.reshape(y, outputs.shape)) ** 2)


def next_token(
  model: model_lib.Model, params: typing.Params, batch: tuple[jax.Array, jax.Array]
) -> Float[Array, '']:
  """Mean cross-entropy of one language model, nats per token.

  A batch is the tokens [b, t] that it reads and those that it has to say; -1 counts as none.
  """
  x, y = batch
  nats = optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), jnp.maximum(y, 0))
  return jnp.sum(jnp.where(y < 0, 0, nats)) / jnp.sum(y >= 0)


def value(
  loss: Callable[..., Any] | None, model: model_lib.Model, params: typing.Params, batch: Any
) -> Float[Array, '']:
  """Loss of one network on a batch (inputs, targets).

  Args:
    loss: see `datasets.Dataset`; None is cross-entropy, nats.
    model: of the network.
    params: path -> array.
    batch: arrays with leading axis [b].
  """
  if loss is None:
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), y).mean()
  found = loss(model, params, batch)
  return found[0] if isinstance(found, tuple) else found


def classify(
  architecture: model_lib.Model,
  data: Mapping[str, jax.Array],
  recipe: recipe_lib.Recipe,
  hparams: Mapping[str, jax.Array],
  *,
  network_key: jax.Array,
  order_key: jax.Array,
) -> Task:
  """Cross-entropy on minibatches; an epoch drops examples that fill no batch.

  Data are train_x, train_y, val_x, val_y; hparams are those of this network, from `recipe.draw`.
  """
  size = len(data['train_y'])
  batches = _order(order_key, recipe, size)
  labels, seen = data['train_y'], None
  if recipe.uses('train_fraction', 'label_noise'):
    ranking = permutation(jax.random.fold_in(network_key, _SUBSET), jnp.arange(size), size)
    num_seen = jnp.int32(size)
    if recipe.uses('train_fraction'):
      share = jnp.round(hparams['train_fraction'] * size)
      num_seen = jnp.maximum(share, 1).astype(jnp.int32)
      seen = jnp.zeros(size, bool).at[ranking].set(jnp.arange(size) < num_seen)
    batches = ranking[batches % num_seen]
    if recipe.uses('label_noise'):
      labels = _with_wrong_labels(
        jax.random.fold_in(network_key, _WRONG),
        labels,
        ranking,
        jnp.round(hparams['label_noise'] * num_seen),
        architecture.num_outputs(data['train_x'][:1]),
      )
  is_random = recipe.uses('dropout', 'input_noise', 'shift')
  read = _image_reader(data['train_x'], recipe, hparams)

  def loss(params: typing.Params, batch: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    rows, dropout, key = batch, (), None
    if is_random:
      rows, step = batch
      key = jax.random.fold_in(jax.random.fold_in(network_key, _STEP), step)
    if recipe.uses('dropout'):
      dropout = ((jax.random.fold_in(key, _DROPOUT), hparams['dropout']),)
    y = labels.at[rows].get(mode='promise_in_bounds')
    logits = architecture.apply(params, read(rows, key), *dropout)
    value = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    # Whether the label has the largest logit; faster than an argmax.
    is_right = jnp.take_along_axis(logits, y[:, None], axis=-1)[:, 0] == logits.max(-1)
    return value, {'train_loss': value, 'train_accuracy': is_right.mean()}

  def measure(params: typing.Params) -> dict[str, jax.Array]:
    x, y = data['val_x'], data['val_y']
    if not len(y):
      return {name: jnp.float32(jnp.nan) for name in _VAL_METRICS}
    logits = architecture.apply(params, x)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return dict(zip(_VAL_METRICS, (loss, (logits.argmax(-1) == y).mean()), strict=True))

  if is_random:
    batches = batches, jnp.arange(recipe.steps)
  return Task(loss, batches, size // recipe.batch_size, measure, seen)


def own(
  architecture: model_lib.Model,
  data: Mapping[str, jax.Array],
  recipe: recipe_lib.Recipe,
  loss: Callable[..., Any],
  *,
  order_key: jax.Array,
) -> Task:
  """A loss of the user's own, as `datasets.Dataset` has it, on minibatches as in `classify`."""
  size = len(data['train_y'])

  def on_batch(params: typing.Params, rows: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    batch = tuple(data[part].at[rows].get(mode='promise_in_bounds') for part in _TRAIN)
    found = value(loss, architecture, params, batch)
    return found, {'train_loss': found}

  def measure(params: typing.Params) -> dict[str, jax.Array]:
    if not len(data['val_y']):
      return {'val_loss': jnp.float32(jnp.nan)}
    return {'val_loss': value(loss, architecture, params, (data['val_x'], data['val_y']))}

  return Task(on_batch, _order(order_key, recipe, size), size // recipe.batch_size, measure)


def fit_image(
  architecture: model_lib.Model, data: Mapping[str, jax.Array], index: jax.Array
) -> Task:
  """Mean squared error over all pixels of image `index`.

  Data are inputs [b, d] and targets [num_networks, b, c].
  """
  target = data['targets'][index]

  def error(params: typing.Params) -> jax.Array:
    return jnp.mean((architecture.apply(params, data['inputs']) - target) ** 2)

  def loss(params: typing.Params, _: None) -> tuple[jax.Array, dict[str, jax.Array]]:
    value = error(params)
    return value, {'train_loss': value}

  return Task(loss, None, 1, lambda params: {'psnr': -10 * jnp.log10(error(params))})


def _order(key: jax.Array, recipe: recipe_lib.Recipe, size: int) -> Int[Array, 'steps batch']:
  """Examples of every batch, each in [0, size)."""
  per_epoch = size // recipe.batch_size
  epochs = jnp.arange(-(-recipe.steps // per_epoch))
  places = jnp.arange(per_epoch * recipe.batch_size)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, epochs)
  order = jax.vmap(lambda key: permutation(key, places, size))(keys)
  return order.reshape(-1, recipe.batch_size)[: recipe.steps]


def _with_wrong_labels(
  key: jax.Array,
  labels: Int[Array, ' examples'],
  ranking: Int[Array, ' examples'],
  num_wrong: jax.Array,
  num_classes: int,
) -> Int[Array, ' examples']:
  """Labels, of which those of the first `num_wrong` examples of a ranking are wrong."""
  change = jax.random.randint(key, labels.shape, 1, num_classes)
  is_wrong = jnp.zeros(labels.shape, bool)
  is_wrong = is_wrong.at[ranking].set(jnp.arange(len(labels)) < num_wrong)
  return jnp.where(is_wrong, (labels + change) % num_classes, labels)


def _image_reader(
  images: Float[Array, 'examples h w c'],
  recipe: recipe_lib.Recipe,
  hparams: Mapping[str, jax.Array],
) -> Callable[[Int[Array, ' b'], jax.Array | None], Float[Array, 'b h w c']]:
  """Function from (rows, key of the step) to images, shifted and with noise."""
  shape = images.shape[1:]
  largest = recipe.shift if isinstance(recipe.shift, int) else recipe.shift[1]
  if largest:
    images = jnp.pad(images, ((0, 0), (largest, largest), (largest, largest), (0, 0)))

  def read(rows: jax.Array, key: jax.Array | None) -> jax.Array:
    if not largest:
      x = images.at[rows].get(mode='promise_in_bounds')
    else:
      bounds = largest - hparams['shift'], largest + hparams['shift'] + 1
      starts = jax.random.randint(jax.random.fold_in(key, _SHIFT), (len(rows), 2), *bounds)
      x = jax.vmap(
        lambda row, start: jax.lax.dynamic_slice(images, (row, *start, 0), (1, *shape))[0]
      )(rows, starts)
    if recipe.uses('input_noise'):
      noise = jax.random.normal(jax.random.fold_in(key, _NOISE), x.shape)
      x = x + hparams['input_noise'] * noise
    return x

  return read
