"""Transformer over tokens, with time and condition by adaptive norm.

Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero).
"""

import flax.linen as nn

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.backbones import Condition, Time, Tokens
from wsjax.layers import transformer


class Transformer(config.Section, nn.Module):
  """Adaptive blocks over tokens at learned positions.

  Attributes:
    width: of a token.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    dropout: rate in both branches of every block in training.
    remat: whether the backward pass recomputes each block from its input, so that memory is that of
      one block and the inputs of all.
  """

  width: config.PositiveInt = 128
  depth: config.NonNegativeInt = 4
  num_heads: config.PositiveInt = 4
  dropout: config.Rate = 0.0
  remat: bool = False

  def __post_init__(self):
    super().__post_init__()
    transformer.check_heads(self.width, self.num_heads)

  @nn.compact
  def __call__(self, x: Tokens, t: Time, condition: Condition = None, *, train=False) -> Tokens:
    """Predicts the field at tokens x, time t in [0, 1] and a condition."""
    given = backbones.features(t, condition, self.width)
    place = self.param('positions', nn.initializers.normal(0.02), (len(x), self.width))
    h = nn.Dense(self.width, name='in')(x) + place
    run = transformer.Block.__call__
    if self.remat:
      run = nn.remat(run, static_argnums=3)
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, self.dropout, name=f'block{number}')
      h = run(block, h, given, train)
    h = nn.LayerNorm(name='norm')(h)
    return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name='out')(h)
