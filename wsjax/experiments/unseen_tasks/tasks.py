"""Binary tasks, subsets of the classes against the others, and the networks that solve them."""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Float, Int

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo.data import datasets


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
  """A zoo of binary tasks.

  Attributes:
    architecture: of all its networks.
    dataset: images whose classes the tasks are made of.
    codes: 'train', 'val' and 'test' -> [n, num_classes] int32 labels of the classes.
    conditions: split -> [n, C] conditions of a generator.
    params: split -> path -> [n, ...] weights.
    num_leaks: test tasks whose complement is in the training split.
  """

  architecture: model_lib.Model
  dataset: datasets.Dataset
  codes: dict[str, np.ndarray]
  conditions: dict[str, np.ndarray]
  params: dict[str, typing.StackedParams]
  num_leaks: int

  def accuracy(
    self, params: typing.StackedParams, codes: Int[np.ndarray, 'n c'], split: str = 'test'
  ) -> Float[np.ndarray, ' n']:
    """Computes the accuracy of network i on task i, on images of a split."""
    x, y = (getattr(self.dataset, f'{split}_{part}') for part in 'xy')
    return correct(np.asarray(margins(self.architecture, params, x)), codes, y)


@functools.partial(jax.jit, static_argnums=0)
def margins(
  architecture: model_lib.Model, params: typing.StackedParams, x: typing.Array
) -> Float[jax.Array, 'n b']:
  """Computes the logit of 'in the subset' minus that of 'not in it' for images `x` [b, ...]."""

  def one(params: typing.Params) -> jax.Array:
    logits = architecture.apply(params, x)
    return logits[:, 1] - logits[:, 0]

  # Few networks at a time, so that their activations stay in cache.
  return jax.lax.map(one, params, batch_size=8)


def correct(
  margin: Float[np.ndarray, 'n b'], codes: Int[np.ndarray, 'n c'], y: Int[np.ndarray, ' b']
) -> Float[np.ndarray, ' n']:
  """Computes the share of images of classes `y` on the right side."""
  return ((margin > 0) == codes[:, y]).mean(1)
