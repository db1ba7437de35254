"""Deterministic map from the condition of a task to the weights of a network."""

import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import config, typing
from wsjax.layers import mlp
from wsjax.models import model as model_lib

REACHES = ('all', 'last')


class TaskNetwork(config.Section, nn.Module):
  """Residual MLP on a condition whose last layer has an output per weight.

  The weights are those of a learned base network plus a change that depends on the condition and is
  zero at initialisation. The change is divided by the width, so that a step of Adam changes a
  generated weight about as much as a learned one.

  Attributes:
    architecture: of the networks.
    encoder: module from the input to the condition [C], such as `set_encoder.SetEncoder`; None
      where the input is the condition.
    width: of the hidden layers.
    depth: number of blocks.
    pairs: whether products of two entries of the condition are inputs, too.
    reach: 'all' parameters depend on the condition, or those of the 'last' layer only.

  Source: Ha et al. 2017, arXiv:1609.09106 (hypernetworks); Yang et al. 2022, arXiv:2203.03466,
    table 3 (the division by the width).
  """

  architecture: model_lib.Model
  encoder: nn.Module | None = None
  width: config.PositiveInt = 128
  depth: config.NonNegativeInt = 2
  pairs: bool = True
  reach: Annotated[str, config.OneOf(REACHES)] = 'all'

  @nn.compact
  def __call__(self, condition: jax.Array) -> typing.Params:
    """Computes the parameters of one network from the input of the encoder, or [C]."""
    base = self.param('base', self.architecture.init)
    if self.encoder is not None:
      condition = self.encoder(condition)
    if self.pairs:
      rows, columns = jnp.triu_indices(len(condition), 1)
      products = condition[rows] * condition[columns]
      condition = jnp.concatenate([condition, products])
    h = nn.Dense(self.width, name='in')(condition)
    h = mlp.residual(h, self.width, self.depth)
    h = nn.LayerNorm(name='norm')(h)
    leaves = self.architecture.spec.leaves
    if self.reach == 'last':
      layer = leaves[-1].path.rpartition('/')[0]
      leaves = [x for x in leaves if x.path.rpartition('/')[0] == layer]
    change = nn.Dense(
      sum(math.prod(leaf.shape) for leaf in leaves),
      kernel_init=nn.initializers.zeros,
      use_bias=False,  # The base is one.
      name='out',
    )(h)
    params, start = dict(base), 0
    for leaf in leaves:
      stop = start + math.prod(leaf.shape)
      params[leaf.path] = base[leaf.path] + (change[start:stop].reshape(leaf.shape) / self.width)
      start = stop
    return params
