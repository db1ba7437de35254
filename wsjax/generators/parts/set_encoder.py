"""A set of examples as one vector, whatever their order and number.

Source: Zaheer et al. 2017, arXiv:1703.06114, theorem 2 (mean of features);
Lee et al. 2019, arXiv:1810.00825, section 3.2 (pooling by attention).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

POOLS = ('mean', 'attention')


class SetEncoder(nn.Module):
  """Features of every example, pooled, and read off the pool.

  Attributes:
    size: C of the vector.
    width: of the hidden layers.
    depth: hidden layers before the pool.
    pool: 'mean' over examples; or 'attention', means with learned weights, as many of them as there
      are heads.
    num_heads: of the attention.
  """

  size: int
  width: int = 128
  depth: int = 2
  pool: str = 'mean'
  num_heads: int = 4

  def __post_init__(self):
    if self.pool not in POOLS:
      raise ValueError(f'Unknown pool {self.pool!r}; allowed: {", ".join(POOLS)}.')
    super().__post_init__()

  @nn.compact
  def __call__(self, examples: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """[C] of a set.

    Args:
      examples: [S, d].
      mask: [S], True for real examples, of which there is at least one; None is all.
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
    # Of what is padded nothing may come through, not even 0 times infinity.
    pooled = weights.T @ jnp.where(mask[:, None], h, 0)
    pooled = nn.gelu(nn.Dense(self.width, name='wide')(pooled.ravel()))
    return nn.Dense(self.size, name='out')(pooled)
