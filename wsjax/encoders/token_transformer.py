"""Hyper-representations: a transformer over tokens of weights.

It sees the order of neurons and has to learn to ignore it, from augmentation or from the objectives
in `self_supervised`.

Source: Schurholt et al. 2021, arXiv:2110.15288 (neurons as tokens); Schurholt et al. 2024,
arXiv:2406.09997 (SANE: chunks as tokens, with positions).
"""

from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.layers import transformer
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout, neurons
from wsjax.tokens import positions as positions_lib


class TokenStack(nn.Module):
  """Transformer blocks over the tokens of one network; fields are those of `TokenTransformer`."""

  spec: spec_lib.Spec
  tokenizer: layout.Tokenizer
  width: int
  depth: int
  num_heads: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, params: typing.Params, hidden: Bool[Array, ' t'] | None = None, *, train: bool = False
  ) -> Float[Array, 't width']:
    """Reads the weights of one network; a learned token replaces the hidden ones."""
    values = self.tokenizer.tokenize(params, self.spec).values
    h = nn.Dense(self.width, name='in')(values)
    # Always made, so that one set of parameters serves with and without.
    mask = self.param('mask', nn.initializers.normal(0.02), (self.width,))
    if hidden is not None:
      h = jnp.where(hidden[:, None], mask, h)
    places = positions_lib.positions(self.tokenizer, self.spec)
    codes = positions_lib.sinusoidal(places, 2 * (self.width // 6))
    h += nn.Dense(self.width, name='position')(codes.reshape(len(places), -1))
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, self.dropout, name=f'block{number}')
      h = block(h, train=train)
    return nn.LayerNorm(name='norm')(h)


class TokenTransformer(encoder.Encoder):
  """Mean of all tokens behind transformer blocks; dropout is in the blocks.

  Attributes:
    tokens: 'neurons', 'chunks' or another tokenizer of arrays.
    width: of a token inside, at least 6.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
  """

  tokens: Annotated[layout.Tokenizer, config.Plugin('tokens')] = neurons.Neurons()
  width: Annotated[int, config.Range(min=6)] = 128
  depth: config.NonNegativeInt = 4
  num_heads: config.PositiveInt = 4

  def __post_init__(self):
    super().__post_init__()
    transformer.check_heads(self.width, self.num_heads)
    if not isinstance(self.tokens, layout.Tokenizer):
      raise ValueError(f'tokens is {self.tokens}; allowed: a tokenizer of arrays.')

  @nn.nowrap
  def stack(self, name: str | None = None) -> TokenStack:
    """The module whose tokens are averaged; its parameters are at 'stack'."""
    spec = self.architecture.spec
    return TokenStack(
      spec, self.tokens, self.width, self.depth, self.num_heads, self.dropout, name=name
    )

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' width']:
    """Mean token of the weights of one network."""
    return self.stack('stack')(params, train=train).mean(0)

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' embedding']:
    """Embeds the weights of one network."""
    return nn.relu(nn.Dense(self.embedding)(self.features(params, train=train)))


class TokenReconstructor(nn.Module):
  """Values of all tokens from those not hidden, by the `stack` of a `TokenTransformer`."""

  stack: TokenStack

  @nn.compact
  def __call__(
    self, params: typing.Params, hidden: Bool[Array, ' t'], *, train: bool = False
  ) -> Float[Array, 't d']:
    """Reconstructs the tokens of one network."""
    h = self.stack(params, hidden, train=train)
    size = self.stack.tokenizer.shape(self.stack.spec)[1]
    return nn.Dense(size, name='values')(h)
