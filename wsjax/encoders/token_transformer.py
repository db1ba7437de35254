"""Hyper-representations: a transformer over tokens of weights.

It sees the order of units, and is to be taught to ignore it, by augmentation or by the objectives
in `self_supervised`.

Source: Schurholt et al. 2021, arXiv:2110.15288 (neurons as tokens); Schurholt et al. 2024,
arXiv:2406.09997 (SANE: chunks as tokens, with positions).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import config, typing
from wsjax.layers import transformer
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout
from wsjax.tokens import positions as positions_lib


class TokenStack(nn.Module):
  """Tokens of weights, seen in the light of each other.

  Attributes:
    spec: the architecture.
    tokenizer: what the tokens are.
    width: of a token inside.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    dropout: share of activations dropped in training.
  """

  spec: spec_lib.Spec
  tokenizer: layout.Tokenizer
  width: int = 128
  depth: int = 4
  num_heads: int = 4
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, params: typing.Params, hidden: jax.Array | None = None, *, train: bool = False
  ) -> jax.Array:
    """One network -> [T, width].

    Args:
      params: its weights.
      hidden: [T] bool, True for tokens that are replaced by a learned one.
      train: whether to drop.
    """
    values = self.tokenizer.tokenize(params, self.spec).values
    h = nn.Dense(self.width, name='in')(values)
    # Always made, so that one set of parameters serves with and without.
    mask = self.param('mask', nn.initializers.normal(0.02), (self.width,))
    if hidden is not None:
      h = jnp.where(hidden[:, None], mask, h)
    where = positions_lib.positions(self.tokenizer, self.spec)
    codes = positions_lib.sinusoidal(where, 2 * (self.width // 6))
    h += nn.Dense(self.width, name='position')(codes.reshape(len(where), -1))
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, self.dropout, name=f'block{number}')
      h = block(h, train=train)
    return nn.LayerNorm(name='norm')(h)


class TokenTransformer(nn.Module):
  """The mean of all tokens.

  Attributes:
    stack: what sees the tokens.
    embedding: length of the embedding.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ()

  stack: TokenStack
  embedding: int = 128

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> jax.Array:
    """Weights of one network -> [embedding]."""
    x = self.stack(params, train=train).mean(0)
    return nn.relu(nn.Dense(self.embedding)(x))


class TokenReconstructor(nn.Module):
  """The values of all tokens, from those that are not hidden.

  Its parameters at 'stack' are those of a `TokenTransformer`.

  Attributes:
    stack: what sees the tokens.
  """

  stack: TokenStack

  @nn.compact
  def __call__(self, params: typing.Params, hidden: jax.Array, *, train: bool = False) -> jax.Array:
    """Weights of one network, [T] bool -> [T, D] token values."""
    h = self.stack(params, hidden, train=train)
    size = self.stack.tokenizer.shape(self.stack.spec)[1]
    return nn.Dense(size, name='values')(h)


def make(
  architecture: model_lib.Model,
  *,
  tokens: str = 'neurons',
  chunk_size: int = 32,
  width: int = 128,
  depth: int = 4,
  num_heads: int = 4,
  embedding: int = 128,
  dropout: float = 0.0,
) -> TokenTransformer:
  """The encoder for one architecture.

  Args:
    architecture: what is read.
    tokens: 'neurons' or 'chunks'.
    chunk_size: weights per token; for chunks only.
    width: of a token inside.
    depth: number of blocks.
    num_heads: of the attention; divides `width`.
    embedding: length of the embedding.
    dropout: share of activations dropped in training.

  Raises:
    ValueError: if the heads do not divide the width, or the tokens are neither.
  """
  if tokens not in ('neurons', 'chunks'):
    raise ValueError(f"Tokens are {tokens!r}; allowed: 'neurons', 'chunks'.")
  if width % num_heads or width < 6:
    raise ValueError(f'A width of {width} does not divide into {num_heads} heads, or is below 6.')
  sizes = {'length': chunk_size} if tokens == 'chunks' else {}
  tokenizer = config.build('tokens', {'name': tokens, **sizes})
  stack = TokenStack(architecture.spec, tokenizer, width, depth, num_heads, dropout)
  return TokenTransformer(stack, embedding)
