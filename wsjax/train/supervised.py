"""Supervised objective: predict a property of networks from their weights."""

import dataclasses
from typing import ClassVar

import jax

from wsjax import typing
from wsjax.heads import prediction
from wsjax.train import augment as augment_lib
from wsjax.train import objective, pretrain


@dataclasses.dataclass(frozen=True)
class Supervised(objective.Objective):
  """Objective of a predictor: the loss of its head.

  Attributes:
    predictor: module to train.
    augment: augmentation of training batches, or None.
    pretrained: variables of `pretrain` that the encoder starts from, or None.
    microbatch: see `Objective`; 16 networks are 2 to 3 times faster than a whole batch.
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
    """Mean loss over a batch {'example': arrays [b, ...], 'target': [b]}, and the head's metrics.

    The key is that of augmentation and dropout, which there are in training.
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
