"""The published network of DeepWeightFlow: a bottleneck MLP.

Source: Gupta et al. 2026, arXiv:2601.05052, and the settings released with it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class DeepWeightFlow(nn.Module):
  """Three hidden layers of width H, H/2, H with layer norm and dropout.

  Attributes:
    width: H.
    time_features: size of the learned embedding of the time.
    dropout: in the first two hidden layers, while training.
  """

  width: int
  time_features: int
  dropout: float

  @nn.compact
  def __call__(
    self, x: jax.Array, t: jax.Array, condition: jax.Array | None = None, *, train: bool = False
  ) -> jax.Array:
    """[T, D] field at [T, D], time t (scalar in [0, 1]), condition [C]."""
    time = nn.Dense(self.time_features, name='time0')(jnp.reshape(t, (1,)))
    time = nn.Dense(self.time_features, name='time1')(nn.gelu(time, approximate=False))
    given = () if condition is None else (condition,)
    h = jnp.concatenate([x.ravel(), time, *given])
    for number, width in enumerate((self.width, self.width // 2, self.width)):
      h = nn.LayerNorm()(nn.Dense(width, name=f'layer{number}')(h))
      h = nn.gelu(h, approximate=False)
      if number < 2:
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
    zeros = nn.initializers.zeros
    out = nn.Dense(x.size, kernel_init=zeros, name='out')(h)
    return out.reshape(x.shape)


def make(width: int = 512, time_features: int = 64, dropout: float = 0.1) -> DeepWeightFlow:
  """The published network.

  Args:
    width: of the widest hidden layers.
    time_features: size of the learned embedding of the time.
    dropout: in the first two hidden layers, while training.
  """
  return DeepWeightFlow(width, time_features, dropout)
