"""Modules from noise and condition to all latents of one network at once.

Latents have about unit variance at initialisation, so that samples differ from the start.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax.layers import mlp, transformer
from wsjax.tokens import positions

_PLACES = 64  # Features of the place of a token.


class MLP(nn.Module):
  """Residual blocks and one layer for all latents."""

  width: int
  depth: int

  @nn.compact
  def __call__(self, given: Float[Array, ' c'], shape: tuple[int, int]) -> Float[Array, 't d']:
    """Computes latents of a shape (T, D)."""
    h = nn.Dense(self.width, name='in')(given)
    h = mlp.residual(h, self.width, self.depth)
    out = nn.Dense(shape[0] * shape[1], name='out')(h)
    return out.reshape(shape)


class Transformer(nn.Module):
  """A learned query per token; noise and condition modulate every block."""

  width: int
  depth: int
  num_heads: int

  @nn.compact
  def __call__(self, given: Float[Array, ' c'], shape: tuple[int, int]) -> Float[Array, 't d']:
    """Computes latents of a shape (T, D)."""
    given = nn.Dense(self.width, name='in')(given)
    queries = self.param('queries', nn.initializers.normal(1.0), (shape[0], self.width))
    h = queries + given[None]
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, 0.0, name=f'block{number}')
      h = block(h, nn.silu(given))
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))


class Chunks(nn.Module):
  """Every token by itself, from its place in the sequence.

  Neither its parameters nor the memory for a part of the tokens grow with the number of tokens.

  Source: von Oswald et al. 2020, arXiv:1906.00695, section 2 (chunks).
  """

  width: int
  depth: int

  @nn.compact
  def __call__(
    self, given: Float[Array, ' c'], shape: tuple[int, int], first: jax.Array | int = 0
  ) -> Float[Array, 't d']:
    """Computes `shape[0]` tokens from number `first` on."""
    places = first + jnp.arange(shape[0])
    features = positions.sinusoidal(places, _PLACES)
    h = nn.Dense(self.width, name='places')(features)
    h += nn.Dense(self.width, name='in')(given)[None]
    h = mlp.residual(h, self.width, self.depth)
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))
