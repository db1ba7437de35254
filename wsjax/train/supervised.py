"""Supervised objective: a property of networks, read from their weights."""

import dataclasses
from typing import ClassVar

import jax

from wsjax import typing
from wsjax.heads import prediction
from wsjax.train import augment as augment_lib
from wsjax.train import objective, pretrain


@dataclasses.dataclass(frozen=True)
class Supervised(objective.Objective):
  """What `loop.fit` trains: the loss of a predictor's head.

  Attributes:
    predictor: the module.
    augment: what is done to the weights of a training batch, or None.
    pretrained: variables that the encoder starts from, of `pretrain`, or None.
    microbatch: networks whose gradients are taken at once on CPU, so that what encoders compute of
      them stays in the cache: 2 to 3 times faster.
  """

  val_draws: ClassVar[int] = 1

  predictor: prediction.Predictor
  augment: augment_lib.Augmentation | None = None
  pretrained: typing.PyTree | None = None
  microbatch: int = 16

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables of the predictor, for {'example': ..., 'target': ...}."""
    variables = self.predictor.init(key, example['example'])
    if self.pretrained is None:
      return variables
    return pretrain.transfer(self.pretrained, variables)

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean loss over a batch, and the head's metrics.

    Args:
      params: variables of the predictor.
      batch: 'example', arrays [b, ...], and 'target' [b].
      key: of augmentation and dropout.
      train: whether there is any.
    """
    examples, target = batch['example'], batch['target']
    if not train:
      outputs = prediction.apply(self.predictor, params, examples)
      return self.predictor.head.loss(outputs, target)
    augment_key, dropout_key = jax.random.split(key)
    if self.augment is not None:
      keys = jax.random.split(augment_key, len(target))
      examples = jax.vmap(self.augment)(keys, examples)
    outputs = jax.vmap(
      lambda x, key: self.predictor.apply(params, x, train=True, rngs={'dropout': key})
    )(examples, jax.random.split(dropout_key, len(target)))
    return self.predictor.head.loss(outputs, target)
