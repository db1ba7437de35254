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
  """Applies `depth` pre-norm residual MLP blocks inside a compact module, which owns their layers.

  A linear map of the `given` features is added to every hidden layer; dropout follows it.
  """
  for number in range(depth):
    update = nn.LayerNorm(name=f'norm{number}')(h)
    update = nn.Dense(width, name=f'wide{number}')(update)
    if given is not None:
      update += nn.Dense(width, name=f'given{number}')(given)
    update = nn.Dropout(dropout, deterministic=not train)(nn.gelu(update))
    h += nn.Dense(width, name=f'back{number}')(update)
  return h
