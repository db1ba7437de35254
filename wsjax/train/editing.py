"""Editing objective: weights whose picture is the picture, edited."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import residual
from wsjax.models import model as model_lib
from wsjax.train import augment as augment_lib
from wsjax.train import objective
from wsjax.zoo.data import images


@dataclasses.dataclass(frozen=True)
class Editing(objective.Objective):
  """What `loop.fit` trains: the error of the pictures of edited networks.

  Targets are made from what the unedited networks draw: `pictures.target`.

  Attributes:
    module: from weights to edited weights.
    architecture: of the networks.
    edit: key of `pictures.EDITS`.
    pixels: rows and columns of the pictures.
    augment: what is done to the weights of a training batch, or None.
    microbatch: as in `Supervised`.
  """

  val_draws: ClassVar[int] = 1

  module: residual.Residual
  architecture: model_lib.Model
  edit: str
  pixels: int
  augment: augment_lib.Augmentation | None = None
  microbatch: int = 16

  def init(self, key: jax.Array, example: typing.Params) -> typing.PyTree:
    """Variables of the module, for the weights of one network."""
    return self.module.init(key, example)

  def loss(
    self, params: typing.PyTree, batch: typing.StackedParams, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared error over a batch, and the mean PSNR in dB.

    Args:
      params: variables of the module.
      batch: path -> [b, ...] weights.
      key: of the augmentation.
      train: whether there is one.
    """
    if train and self.augment is not None:
      keys = jax.random.split(key, len(next(iter(batch.values()))))
      batch = jax.vmap(self.augment)(keys, batch)
    errors = jax.vmap(lambda example: self._error(params, example))(batch)
    return errors.mean(), {'psnr': jnp.mean(-10 * jnp.log10(errors))}

  def _error(self, params: typing.PyTree, example: typing.Params) -> jax.Array:
    """Mean squared error over the pixels of one network."""
    before = images.draw(self.architecture, example, self.pixels)
    edited = self.module.apply(params, example)
    after = images.draw(self.architecture, edited, self.pixels)
    return jnp.mean((after - images.target(before, self.edit)) ** 2)
