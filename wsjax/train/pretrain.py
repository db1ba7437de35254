"""Self-supervised pretraining of an encoder, contrastive or masked.

Source: Schurholt et al. 2021, arXiv:2110.15288 (hyper-representations).
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import config, typing
from wsjax.encoders import self_supervised, token_transformer
from wsjax.heads import prediction
from wsjax.symmetry import spec as spec_lib
from wsjax.train import objective as objective_lib


@dataclasses.dataclass(frozen=True)
class Pretrain(config.Section):
  """The section `pretrain` of a config.

  Attributes:
    objective: 'none', 'contrastive' or 'masked'.
    steps: number of updates.
    noise: standard deviation of noise on the views of the contrastive objective, relative to that
      of the weights.
    temperature: temperature of the contrastive objective.
    ratio: share of tokens that the masked objective hides.
  """

  objective: Literal['none', 'contrastive', 'masked'] = 'none'
  steps: config.NonNegativeInt = 0
  noise: config.NonNegativeFloat = 0.05
  temperature: config.PositiveFloat = 0.1
  ratio: Annotated[float, config.Range(above=0, below=1)] = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Pretraining(objective_lib.Objective):
  """Objective of an encoder, on the weights of networks without labels.

  Attributes:
    module: the encoder, and modules that only the objective needs.
    self_supervised_loss: (variables, batch, key) -> (loss, metrics).
    scales: divisors of the weights, as in `Predictor`.
    num_tokens: tokens of a module that takes hidden ones; 0 for one that takes weights alone.
  """

  val_draws: ClassVar[int] = 8

  module: nn.Module
  self_supervised_loss: self_supervised.Loss
  scales: tuple[tuple[str, float], ...]
  num_tokens: int

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables of the module, for {'example': weights of one network}."""
    params = prediction.divide(example['example'], dict(self.scales))
    extra = (jnp.zeros(self.num_tokens, bool),) if self.num_tokens else ()
    return self.module.init(key, params, *extra)

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, objective_lib.Metrics]:
    """Self-supervised loss of a batch; views and masks are drawn in validation too."""
    del train
    weights = prediction.divide(batch['example'], dict(self.scales))
    return self.self_supervised_loss(params, weights, key)


def make(
  section: Mapping[str, Any],
  encoder: nn.Module,
  spec: spec_lib.Spec,
  scales: tuple[tuple[str, float], ...],
) -> Pretraining | None:
  """The objective of pretraining that a section describes; None for 'none'.

  Args:
    section: fields of `Pretrain`.
    encoder: plug-in of `encoders`; only a token transformer can be masked.
    spec: symmetry of the networks; views are random members of their orbits.
    scales: divisors of the weights.

  Raises:
    ValueError: for a wrong field, or an encoder that cannot be masked.
  """
  settings = config.read(Pretrain, 'pretrain', section)
  if settings.objective == 'none':
    return None
  if settings.objective == 'contrastive':
    projector = self_supervised.Projector(encoder)
    loss = self_supervised.contrastive(
      projector, spec, noise=settings.noise, temperature=settings.temperature
    )
    return Pretraining(projector, loss, scales, 0)
  if not isinstance(encoder, token_transformer.TokenTransformer):
    raise ValueError(
      "pretrain.objective is 'masked', which hides tokens of a token_transformer; the encoder is a "
      f'{type(encoder).__name__}.'
    )
  stack = encoder.stack()
  reconstructor = token_transformer.TokenReconstructor(stack)
  loss = self_supervised.masked(reconstructor, ratio=settings.ratio)
  return Pretraining(reconstructor, loss, scales, stack.tokenizer.shape(spec)[0])


def transfer(trained: typing.PyTree, fresh: typing.PyTree) -> typing.PyTree:
  """Variables of a predictor with every part of the encoder that a pretrained module trained."""
  params = trained['params']
  encoder = {**fresh['params']['encoder'], **params.get('encoder', {})}
  if 'stack' in params:
    encoder['stack'] = params['stack']
  return {**fresh, 'params': {**fresh['params'], 'encoder': encoder}}
