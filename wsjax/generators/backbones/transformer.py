"""A transformer over tokens, with time and condition by adaptive norm.

Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero).
"""

import flax.linen as nn
import jax

from wsjax.generators.parts import time_condition


class Block(nn.Module):
  """Attention and MLP, each shifted, scaled and gated by what is given.

  Attributes:
    width: of a token.
    num_heads: of the attention; divides `width`.
    dropout: share of activations dropped while training.
  """

  width: int
  num_heads: int
  dropout: float

  @nn.compact
  def __call__(self, h: jax.Array, given: jax.Array, train: bool = False) -> jax.Array:
    """[T, width] tokens from [T, width] tokens and [width] features."""
    zeros = nn.initializers.zeros
    modulation = nn.Dense(6 * self.width, kernel_init=zeros, name='given')
    # [6, 1, width]: shift, scale and gate of either branch.
    modulation = modulation(given).reshape(6, 1, self.width)

    def normed(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
      return nn.LayerNorm(use_bias=False, use_scale=False)(x) * (1 + scale) + (shift)

    def dropped(x: jax.Array) -> jax.Array:
      return nn.Dropout(self.dropout, deterministic=not train)(x)

    shift, scale, gate = modulation[:3]
    attention = nn.MultiHeadDotProductAttention(num_heads=self.num_heads, name='attention')
    h += gate * dropped(attention(normed(h, shift, scale)))
    shift, scale, gate = modulation[3:]
    update = nn.Dense(4 * self.width, name='wide')(normed(h, shift, scale))
    return h + gate * dropped(nn.Dense(self.width, name='back')(nn.gelu(update)))


class Transformer(nn.Module):
  """Pre-norm blocks over tokens at learned positions.

  Written for one example; the output is zero at initialisation.

  Attributes:
    width: of a token.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    dropout: share of activations dropped while training.
    remat: whether the way back computes each block again from its input, so that memory is that of
      one block and the inputs of all.
  """

  width: int
  depth: int
  num_heads: int
  dropout: float = 0.0
  remat: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, t: jax.Array, condition: jax.Array | None = None, *, train: bool = False
  ) -> jax.Array:
    """[T, D] field at [T, D], time t (scalar in [0, 1]), condition [C]."""
    given = time_condition.features(t, condition, self.width)
    place = self.param('positions', nn.initializers.normal(0.02), (len(x), self.width))
    h = nn.Dense(self.width, name='in')(x) + place
    run = Block.__call__
    if self.remat:
      run = nn.remat(run, static_argnums=3)
    for number in range(self.depth):
      block = Block(self.width, self.num_heads, self.dropout, name=f'block{number}')
      h = run(block, h, given, train)
    zeros = nn.initializers.zeros
    h = nn.LayerNorm(name='norm')(h)
    return nn.Dense(x.shape[-1], kernel_init=zeros, name='out')(h)


def check_heads(width: int, num_heads: int) -> None:
  """Raises ValueError unless the heads divide the width."""
  if num_heads < 1 or width % num_heads:
    raise ValueError(f'A width of {width} does not divide into {num_heads} heads.')


def make(
  width: int = 128, depth: int = 4, num_heads: int = 4, dropout: float = 0.0, remat: bool = False
) -> Transformer:
  """The token transformer.

  Args:
    width: of a token.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    dropout: share of activations dropped while training.
    remat: whether blocks are computed again on the way back.

  Raises:
    ValueError: if the heads do not divide the width.
  """
  check_heads(width, num_heads)
  return Transformer(width, depth, num_heads, dropout, remat)
