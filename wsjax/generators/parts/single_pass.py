"""Modules from what is given, noise and condition, to all latents at once.

Written for one example; latents have about unit variance at initialisation, so that samples are
apart from the start.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.layers import transformer
from wsjax.tokens import positions

_PLACES = 64  # Features of the place of a token.


def residual(h: jax.Array, width: int, depth: int) -> jax.Array:
  """Pre-norm residual blocks [..., width] -> [..., width].

  To be called inside a compact module, whose own layers these become.
  """
  for number in range(depth):
    update = nn.LayerNorm(name=f'norm{number}')(h)
    update = nn.gelu(nn.Dense(width, name=f'wide{number}')(update))
    h += nn.Dense(width, name=f'back{number}')(update)
  return h


class MLP(nn.Module):
  """Residual blocks from what is given to all latents at once."""

  width: int
  depth: int

  @nn.compact
  def __call__(self, given: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """[T, D] from [C]."""
    h = nn.Dense(self.width, name='in')(given)
    h = residual(h, self.width, self.depth)
    out = nn.Dense(shape[0] * shape[1], name='out')(h)
    return out.reshape(shape)


class Transformer(nn.Module):
  """A learned query per token; what is given enters every block."""

  width: int
  depth: int
  num_heads: int

  @nn.compact
  def __call__(self, given: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """[T, D] from [C]."""
    given = nn.Dense(self.width, name='in')(given)
    queries = self.param('queries', nn.initializers.normal(1.0), (shape[0], self.width))
    h = queries + given[None]
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, 0.0, name=f'block{number}')
      h = block(h, nn.silu(given))
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))


class Chunks(nn.Module):
  """Every token by itself, from what is given and its place in the sequence.

  Its parameters do not grow with the number of tokens, and neither does the memory of making a part
  of them.

  Source: von Oswald et al. 2020, arXiv:1906.00695, section 2 (chunks).
  """

  width: int
  depth: int

  @nn.compact
  def __call__(
    self, given: jax.Array, shape: tuple[int, int], first: jax.Array | int = 0
  ) -> jax.Array:
    """[T, D] tokens from number `first` on, from [C]."""
    places = first + jnp.arange(shape[0])
    features = positions.sinusoidal(places, _PLACES)
    h = nn.Dense(self.width, name='places')(features)
    h += nn.Dense(self.width, name='in')(given)[None]
    h = residual(h, self.width, self.depth)
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))
