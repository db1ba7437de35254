"""A residual MLP over all tokens at once."""

import flax.linen as nn
import jax

from wsjax.generators.parts import time_condition


class MLP(nn.Module):
  """Pre-norm residual blocks; time and condition are added in each.

  Written for one example; the output is zero at initialisation.

  Attributes:
    width: of the hidden layers.
    depth: number of blocks.
    dropout: share of hidden units dropped while training.
  """

  width: int
  depth: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, x: jax.Array, t: jax.Array, condition: jax.Array | None = None, *, train: bool = False
  ) -> jax.Array:
    """[T, D] field at [T, D], time t (scalar in [0, 1]), condition [C]."""
    given = time_condition.features(t, condition, self.width)
    h = nn.Dense(self.width, name='in')(x.ravel())
    for number in range(self.depth):
      update = nn.LayerNorm(name=f'norm{number}')(h)
      update = nn.Dense(self.width, name=f'wide{number}')(update)
      update += nn.Dense(self.width, name=f'given{number}')(given)
      update = nn.Dropout(self.dropout, deterministic=not train)(nn.gelu(update))
      h += nn.Dense(self.width, name=f'back{number}')(update)
    h = nn.LayerNorm(name='norm')(h)
    zeros = nn.initializers.zeros
    out = nn.Dense(x.size, kernel_init=zeros, name='out')(h)
    return out.reshape(x.shape)


def make(width: int = 512, depth: int = 3, dropout: float = 0.0) -> MLP:
  """The residual MLP.

  Args:
    width: of the hidden layers.
    depth: number of blocks.
    dropout: share of hidden units dropped while training.
  """
  return MLP(width, depth, dropout)
