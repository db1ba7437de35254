"""Training a zoo: thousands of small networks trained in one compiled program.

Everything random about net i comes from fold_in(key(seed), i), and on CPU nets are always trained
in groups of one size, so net i is bitwise the same alone, in any chunk, and on any number of
devices. An accelerator takes a chunk at once; there a net depends on the chunk's size by rounding.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import trainer
from wsjax.zoo.data import datasets

Recipe = recipe_lib.Recipe
_OF_CLASSIFIERS = ('dropout', 'train_fraction', 'label_noise', 'input_noise', 'shift')


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetworks:
  """Networks as they left training; host arrays.

  Attributes:
    indices: [n] which nets these are.
    params: final weights.
    snapshots: step -> weights then.
    optimizer: [n] name.
    hparams: 'learning_rate', 'weight_decay' and every other factor in use of `recipe.FACTORS`, each
      [n].
    trace_steps: [t] the snapshots and the last step.
    trace: metric -> [n, t]. 'train_loss' is the mean over the batches since the last trace step, of
      one epoch at most, and so is 'train_accuracy' of classifiers: of examples and labels as they
      were trained on; of 'val_loss' (nats) and
      'val_accuracy', or 'psnr' (dB) of images. NaN
      where there is no val split.
    diverged: [n] whether a final weight or loss is not finite.
    seen: [n, examples] which examples of the training split a net has seen; None is all of them.
  """

  indices: np.ndarray
  params: typing.StackedParams
  snapshots: dict[int, typing.StackedParams]
  optimizer: np.ndarray
  hparams: dict[str, np.ndarray]
  trace_steps: tuple[int, ...]
  trace: dict[str, np.ndarray]
  diverged: np.ndarray
  seen: np.ndarray | None = None

  @property
  def train_loss(self) -> np.ndarray:
    """[n] training loss at the end."""
    return self.trace['train_loss'][:, -1]

  @property
  def train_accuracy(self) -> np.ndarray:
    """[n] share of training examples classified correctly at the end."""
    return self.trace['train_accuracy'][:, -1]

  @property
  def val_accuracy(self) -> np.ndarray:
    """[n] share of val examples classified correctly at the end."""
    return self.trace['val_accuracy'][:, -1]


def train_networks(
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  recipe: Recipe,
  indices: Sequence[int] | np.ndarray,
  *,
  seed: int,
) -> TrainedNetworks:
  """Trains networks from scratch.

  Args:
    architecture: what they are.
    dataset: what they learn.
    recipe: how they learn it.
    indices: [n] which nets; each is a function of (seed, index) alone.
    seed: of the zoo.

  Returns:
    The trained nets, in the order of `indices`.

  Raises:
    ValueError: if a batch is larger than the training split, or an index has no code in a data set
      that has them.
  """
  return _by_optimizer(architecture, dataset, recipe, indices, seed, None)


def finetune(
  architecture: model_lib.Model,
  dataset: datasets.Dataset,
  params: typing.StackedParams,
  recipe: Recipe,
  *,
  steps: int,
  seed: int,
) -> typing.StackedParams:
  """Trains given networks for some more steps.

  Args:
    architecture: what they are.
    dataset: what they learn.
    params: where they start; the optimizer starts anew.
    recipe: how they learn; its `steps` and `snapshots` are not used.
    steps: number of updates; 0 gives the weights back.
    seed: of the data order and drawn hyper-parameters.

  Returns:
    The trained weights, in the same order.

  Raises:
    ValueError: if `params` do not fit the architecture, or a batch is larger than the training
      split.
  """
  architecture.spec.check(params, stacked=True)
  if steps == 0:
    return {path: np.asarray(array) for path, array in params.items()}
  recipe = dataclasses.replace(recipe, steps=steps, snapshots=())
  indices = np.arange(len(next(iter(params.values()))))
  trained = _by_optimizer(architecture, dataset, recipe, indices, seed, params)
  return trained.params


def fit_images(
  architecture: model_lib.Model,
  images: np.ndarray,
  recipe: Recipe,
  indices: Sequence[int] | np.ndarray,
  *,
  seed: int,
  initial: typing.StackedParams | None = None,
) -> TrainedNetworks:
  """Fits network i to image i: one implicit representation per image.

  Args:
    architecture: from coordinates [b, 2] to values [b, channels].
    images: [num_images, height, width, channels], values in [0, 1].
    recipe: how; `batch_size` is not used, every step sees every pixel.
    indices: [n] which images.
    seed: of the zoo.
    initial: path -> [n, ...] weights to start from, in the order of `indices`; None draws them.

  Returns:
    The nets; 'train_loss' is the mean squared error before the last update, 'psnr' of the weights
    kept.

  Raises:
    ValueError: for an index that has no image, or a recipe with what only classifiers have.
  """
  indices = np.asarray(indices)
  if indices.size and not 0 <= indices.min() <= indices.max() < len(images):
    raise ValueError(
      f'Net i is fitted to image i; got indices up to {indices.max()} and {len(images)} images.'
    )
  if recipe.uses(*_OF_CLASSIFIERS):
    raise ValueError(
      f'Nets that fit images have none of {", ".join(_OF_CLASSIFIERS)}; got {recipe}.'
    )
  flat = images.reshape(len(images), -1, images.shape[-1])
  data = {'inputs': coordinates(*images.shape[1:3]), 'targets': flat}
  return _by_optimizer(architecture, data, recipe, indices, seed, initial)


def coordinates(height: int, width: int) -> np.ndarray:
  """Pixel centres of an image in [-1, 1]^2.

  Args:
    height: number of rows.
    width: number of columns.

  Returns:
    [height * width, 2] float32, row by row: (vertical, horizontal).
  """
  axes = [(2 * np.arange(size, dtype=np.float32) + 1) / size - 1 for size in (height, width)]
  return np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 2)


def _by_optimizer(
  architecture: model_lib.Model,
  dataset: datasets.Dataset | dict[str, np.ndarray],
  recipe: Recipe,
  indices: Sequence[int] | np.ndarray,
  seed: int,
  initial: typing.StackedParams | None,
) -> TrainedNetworks:
  """One compiled call per optimizer; its nets put back into order."""
  indices = np.asarray(indices, np.int32)
  if indices.ndim != 1 or not indices.size:
    raise ValueError(f'indices must be [n] with n >= 1; got {indices.shape}.')
  if isinstance(dataset, dict):
    data = dataset
  else:
    data = {part: getattr(dataset, part) for part in ('train_x', 'train_y', 'val_x', 'val_y')}
    if dataset.codes is not None:
      data['codes'] = dataset.codes
      if indices.min() < 0 or indices.max() >= len(dataset.codes):
        raise ValueError(
          f'Net i learns code i; got indices up to {indices.max()} and {len(dataset.codes)} codes.'
        )
    if recipe.batch_size > len(dataset.train_y):
      raise ValueError(
        f'batch_size {recipe.batch_size} is larger than the training split, '
        f'which has {len(dataset.train_y)} examples.'
      )
  names = np.array(recipe.optimizers)[indices % len(recipe.optimizers)]
  places, parts = [], []
  for name in recipe.optimizers:
    if not (chosen := np.flatnonzero(names == name)).size:
      continue
    start = initial and {k: np.asarray(v)[chosen] for k, v in initial.items()}
    parts.append(trainer.train(architecture, recipe, name, data, indices[chosen], seed, start))
    places.append(chosen)
  order = np.argsort(np.concatenate(places))
  result = jax.tree.map(lambda *part: np.concatenate(part)[order], *parts)
  steps = (*recipe.snapshots, recipe.steps)
  *kept, params = result['weights']
  finite = [np.isfinite(a).reshape(len(a), -1).all(1) for a in params.values()]
  finite.append(np.isfinite(result['trace']['train_loss'][:, -1]))
  return TrainedNetworks(
    indices=indices,
    params=params,
    snapshots=dict(zip(recipe.snapshots, kept, strict=True)),
    optimizer=names,
    hparams=result['hparams'],
    trace_steps=steps,
    trace=result['trace'],
    diverged=~np.all(finite, axis=0),
    seen=result['seen'],
  )
