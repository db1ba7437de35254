"""Training an encoder before any label is seen, by contrast or by masking.

Source: Schurholt et al. 2021, arXiv:2110.15288 (hyper-representations).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.encoders import self_supervised, token_transformer
from wsjax.heads import prediction
from wsjax.symmetry import spec as spec_lib
from wsjax.train import objective as objective_lib

OBJECTIVES = ('none', 'contrastive', 'masked')


@dataclasses.dataclass(frozen=True, eq=False)
class Pretraining(objective_lib.Objective):
  """What `loop.fit` trains: an encoder, on the weights of networks alone.

  Attributes:
    module: the encoder, and what is only needed for the objective.
    objective: (variables, batch, key) -> (loss, metrics).
    scales: what weights are divided by, as in `Predictor`.
    hidden: number of tokens of the module that reads hidden ones; 0 for one that reads weights
      alone.
  """

  val_draws: ClassVar[int] = 8

  module: nn.Module
  objective: self_supervised.Loss
  scales: tuple[tuple[str, float], ...]
  hidden: int

  def init(self, key: jax.Array, example: typing.PyTree) -> typing.PyTree:
    """Variables of the module, for {'example': weights of one network}."""
    params = prediction.divide(example['example'], dict(self.scales))
    extra = (jnp.zeros(self.hidden, bool),) if self.hidden else ()
    return self.module.init(key, params, *extra)

  def loss(
    self, params: typing.PyTree, batch: typing.PyTree, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The objective on a batch; views and masks are drawn in validation too."""
    del train
    weights = prediction.divide(batch['example'], dict(self.scales))
    return self.objective(params, weights, key)


def make(
  section: Mapping[str, Any],
  encoder: nn.Module,
  spec: spec_lib.Spec,
  scales: tuple[tuple[str, float], ...],
) -> Pretraining | None:
  """The pretraining that a config section describes.

  Args:
    section: 'objective' from `OBJECTIVES`; 'noise' and 'temperature' of contrast; 'ratio', the
      share of tokens that masking hides. What the objective does not use is ignored.
    encoder: plug-in of `encoders`; only a token transformer can be masked.
    spec: of the networks; views are random members of their orbits.
    scales: what weights are divided by.

  Returns:
    What `loop.fit` trains, or None where nothing is.

  Raises:
    ValueError: for an unknown objective, or an encoder that it does not suit.
  """
  objective = section['objective']
  if objective not in OBJECTIVES:
    raise ValueError(
      f'Unknown objective of pretraining {objective!r}; allowed: {", ".join(OBJECTIVES)}.'
    )
  if objective == 'none':
    return None
  if objective == 'contrastive':
    projector = self_supervised.Projector(encoder)
    loss = self_supervised.contrastive(
      projector, spec, noise=section['noise'], temperature=section['temperature']
    )
    return Pretraining(projector, loss, scales, 0)
  if not isinstance(encoder, token_transformer.TokenTransformer):
    raise ValueError(
      f'Masking hides tokens; it suits the token_transformer, not a {type(encoder).__name__}.'
    )
  stack = encoder.stack()
  reconstructor = token_transformer.TokenReconstructor(stack)
  loss = self_supervised.masked(reconstructor, ratio=section['ratio'])
  tokens = stack.tokenizer.shape(spec)[0]
  return Pretraining(reconstructor, loss, scales, tokens)


def transfer(trained: typing.PyTree, fresh: typing.PyTree) -> typing.PyTree:
  """Variables of a predictor whose encoder starts as pretrained.

  Args:
    trained: variables of the pretrained module.
    fresh: variables of the predictor.

  Returns:
    As `fresh`, with every part of the encoder that was trained.
  """
  params = trained['params']
  encoder = {**fresh['params']['encoder'], **params.get('encoder', {})}
  if 'stack' in params:
    encoder['stack'] = params['stack']
  return {**fresh, 'params': {**fresh['params'], 'encoder': encoder}}
