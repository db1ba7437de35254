"""Residual MLP over all tokens at once."""

import flax.linen as nn

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.backbones import Condition, Time, Tokens
from wsjax.layers import mlp


class MLP(config.Section, nn.Module):
  """Pre-norm residual blocks; time and condition are added in each.

  Attributes:
    width: of the hidden layers.
    depth: number of blocks.
    dropout: rate in the hidden layers in training.
  """

  width: config.PositiveInt = 512
  depth: config.NonNegativeInt = 3
  dropout: config.Rate = 0.0

  @nn.compact
  def __call__(self, x: Tokens, t: Time, condition: Condition = None, *, train=False) -> Tokens:
    """Predicts the field at tokens x, time t in [0, 1] and a condition."""
    given = backbones.features(t, condition, self.width)
    h = nn.Dense(self.width, name='in')(x.ravel())
    h = mlp.residual(h, self.width, self.depth, given, dropout=self.dropout, train=train)
    h = nn.LayerNorm(name='norm')(h)
    out = nn.Dense(x.size, kernel_init=nn.initializers.zeros, name='out')(h)
    return out.reshape(x.shape)
