"""Residual MLP blocks."""

import flax.linen as nn
from jaxtyping import Array, Float


def residual(
  h: Float[Array, '*batch width'],
  width: int,
  depth: int,
  given: Float[Array, ' features'] | None = None,
  *,
  dropout: float = 0.0,
  train: bool = False,
) -> Float[Array, '*batch width']:
  """Applies pre-norm residual MLP blocks inside a compact module, which owns their layers.

  Args:
    h: hidden features.
    width: of the hidden features.
    depth: number of blocks.
    given: features that are added to the hidden layer of every block by a linear map.
    dropout: rate of dropout in every hidden layer.
    train: whether to drop.
  """
  for number in range(depth):
    update = nn.LayerNorm(name=f'norm{number}')(h)
    update = nn.Dense(width, name=f'wide{number}')(update)
    if given is not None:
      update += nn.Dense(width, name=f'given{number}')(given)
    update = nn.Dropout(dropout, deterministic=not train)(nn.gelu(update))
    h += nn.Dense(width, name=f'back{number}')(update)
  return h
