"""Encoder of a set of examples, invariant to their order.

Source: Zaheer et al. 2017, arXiv:1703.06114, theorem 2 (mean of features); Lee et al. 2019,
arXiv:1810.00825, section 3.2 (pooling by attention).
"""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from wsjax import config

POOLS = ('mean', 'attention')


class SetEncoder(config.Section, nn.Module):
  """Features of every example, pooled and projected.

  Attributes:
    size: C of the vector.
    width: of the hidden layers.
    depth: hidden layers before the pool.
    pool: 'mean' over examples; or 'attention', means with learned weights, as many of them as there
      are heads.
    num_heads: of the attention.
  """

  size: config.PositiveInt
  width: config.PositiveInt = 128
  depth: config.NonNegativeInt = 2
  pool: Annotated[str, config.OneOf(POOLS)] = 'mean'
  num_heads: config.PositiveInt = 4

  @nn.compact
  def __call__(
    self, examples: Float[Array, 's d'], mask: Bool[Array, ' s'] | None = None
  ) -> Float[Array, ' size']:
    """Encodes a set.

    Args:
      examples: at least one of them real.
      mask: True for real examples; None is all.
    """
    h = examples
    for number in range(self.depth):
      h = nn.gelu(nn.Dense(self.width, name=f'example{number}')(h))
    if mask is None:
      mask = jnp.ones(len(examples), bool)
    if self.pool == 'mean':
      weights = (mask / mask.sum())[:, None]
    else:
      scores = nn.Dense(self.num_heads, name='scores')(h)
      scores = jnp.where(mask[:, None], scores, -jnp.inf)
      weights = jax.nn.softmax(scores, axis=0)
    # Padding must not come through, not even as 0 times infinity.
    pooled = weights.T @ jnp.where(mask[:, None], h, 0)
    pooled = nn.gelu(nn.Dense(self.width, name='wide')(pooled.ravel()))
    return nn.Dense(self.size, name='out')(pooled)
