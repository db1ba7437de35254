"""What a network of a zoo minimises, and on which examples, step by step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import shuffle

# Streams of randomness of one net; those before them are in trainer.py.
_SUBSET, _WRONG, _STEP = range(3, 6)
# Streams of randomness of one step.
_DROPOUT, _NOISE, _SHIFT = range(3)
_VAL_METRICS = ('val_loss', 'val_accuracy')


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """The task of one network, inside the compiled program.

  Attributes:
    loss: (params, batch) -> (loss, metrics to be averaged over an epoch).
    batches: arrays with leading axis [steps], one batch each; None where every step is the same.
    per_epoch: batches of an epoch.
    measure: params -> metrics of these weights.
    seen: [examples] booleans, which the net sees; None is all.
  """

  loss: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
  batches: Any
  per_epoch: int
  measure: Callable[[typing.Params], dict[str, jax.Array]]
  seen: jax.Array | None = None


def classify(
  architecture: model_lib.Model,
  data: Mapping[str, jax.Array],
  recipe: recipe_lib.Recipe,
  hparams: Mapping[str, jax.Array],
  *,
  net_key: jax.Array,
  order_key: jax.Array,
) -> Task:
  """Cross-entropy on minibatches; an epoch drops what fills no batch.

  Args:
    architecture: what the network is.
    data: train_x, train_y, val_x, val_y.
    recipe: how it learns.
    hparams: what `recipe.draw` gave this network.
    net_key: of this network.
    order_key: of the order of its batches.

  Returns:
    The task.
  """
  size = len(data['train_y'])
  batches = _order(order_key, recipe, size)
  labels, seen = data['train_y'], None
  if recipe.uses('train_fraction', 'label_noise'):
    ranking = shuffle.permutation(jax.random.fold_in(net_key, _SUBSET), jnp.arange(size), size)
    num_seen = jnp.int32(size)
    if recipe.uses('train_fraction'):
      num_seen = _at_least_one(hparams['train_fraction'] * size)
      seen = jnp.zeros(size, bool).at[ranking].set(jnp.arange(size) < num_seen)
    batches = ranking[batches % num_seen]
    if recipe.uses('label_noise'):
      wrong = ranking, jnp.round(hparams['label_noise'] * num_seen)
      labels = _with_wrong_labels(
        jax.random.fold_in(net_key, _WRONG),
        labels,
        wrong,
        architecture.num_outputs(data['train_x'][:1]),
      )
  is_random = recipe.uses('dropout', 'input_noise', 'shift')
  read = _reader(data['train_x'], recipe, hparams)

  def loss(params: typing.Params, batch: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    rows, dropout, key = batch, (), None
    if is_random:
      rows, step = batch
      key = jax.random.fold_in(jax.random.fold_in(net_key, _STEP), step)
    if recipe.uses('dropout'):
      dropout = ((jax.random.fold_in(key, _DROPOUT), hparams['dropout']),)
    x = read(rows, key)
    y = labels.at[rows].get(mode='promise_in_bounds')
    logits = architecture.apply(params, x, *dropout)
    value = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return value, {'train_loss': value, 'train_accuracy': _is_largest(logits, y).mean()}

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


def relabelled(data: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
  """Data whose labels are what net `index` calls their classes.

  Args:
    data: as `classify`, and codes [num_nets, num_classes].
    index: of the network.
  """
  code = data['codes'][index]
  labels = {part: code[data[part]] for part in ('train_y', 'val_y')}
  return {**data, **labels}


def fit_image(
  architecture: model_lib.Model, data: Mapping[str, jax.Array], index: jax.Array
) -> Task:
  """Mean squared error over all pixels of image `index`.

  Args:
    architecture: what the network is.
    data: inputs [b, d] and targets [num_nets, b, c].
    index: of the network.

  Returns:
    The task.
  """
  target = data['targets'][index]

  def error(params: typing.Params) -> jax.Array:
    return jnp.mean((architecture.apply(params, data['inputs']) - target) ** 2)

  def loss(params: typing.Params, _: None) -> tuple[jax.Array, dict[str, jax.Array]]:
    value = error(params)
    return value, {'train_loss': value}

  def measure(params: typing.Params) -> dict[str, jax.Array]:
    return {'psnr': -10 * jnp.log10(error(params))}

  return Task(loss, None, 1, measure)


def _order(key: jax.Array, recipe: recipe_lib.Recipe, size: int) -> jax.Array:
  """Which examples every batch has: [steps, batch] in [0, size)."""
  per_epoch = size // recipe.batch_size
  num_epochs = -(-recipe.steps // per_epoch)
  places = jnp.arange(per_epoch * recipe.batch_size)
  order = jax.vmap(lambda epoch: shuffle.permutation(jax.random.fold_in(key, epoch), places, size))(
    jnp.arange(num_epochs)
  )
  return order.reshape(-1, recipe.batch_size)[: recipe.steps]


def _is_largest(logits: jax.Array, y: jax.Array) -> jax.Array:
  """[b] whether the label has the largest logit; faster than an argmax."""
  of_label = jnp.take_along_axis(logits, y[:, None], axis=-1)[:, 0]
  return of_label == logits.max(-1)


def _at_least_one(count: jax.Array) -> jax.Array:
  return jnp.maximum(jnp.round(count), 1).astype(jnp.int32)


def _with_wrong_labels(
  key: jax.Array, labels: jax.Array, wrong: tuple[jax.Array, jax.Array], num_classes: int
) -> jax.Array:
  """Labels, where the first few examples of a ranking have another class."""
  ranking, count = wrong
  change = jax.random.randint(key, labels.shape, 1, num_classes)
  changed = (labels + change) % num_classes
  is_wrong = jnp.zeros(labels.shape, bool)
  is_wrong = is_wrong.at[ranking].set(jnp.arange(len(labels)) < count)
  return jnp.where(is_wrong, changed, labels)


def _reader(
  images: jax.Array, recipe: recipe_lib.Recipe, hparams: Mapping[str, jax.Array]
) -> Callable[[jax.Array, jax.Array | None], jax.Array]:
  """(rows [b], key of the step) -> images [b, h, w, c], moved and noisy."""
  shape = images.shape[1:]
  far = recipe.shift if isinstance(recipe.shift, int) else recipe.shift[1]
  if far:
    images = jnp.pad(images, ((0, 0), (far, far), (far, far), (0, 0)))

  def read(rows: jax.Array, key: jax.Array | None) -> jax.Array:
    if not far:
      x = images.at[rows].get(mode='promise_in_bounds')
    else:
      moves = jax.random.randint(
        jax.random.fold_in(key, _SHIFT),
        (len(rows), 2),
        far - hparams['shift'],
        far + hparams['shift'] + 1,
      )
      x = jax.vmap(
        lambda row, move: jax.lax.dynamic_slice(images, (row, *move, 0), (1, *shape))[0]
      )(rows, moves)
    if recipe.uses('input_noise'):
      noise = jax.random.normal(jax.random.fold_in(key, _NOISE), x.shape)
      x = x + hparams['input_noise'] * noise
    return x

  return read
