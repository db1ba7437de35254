"""The published network of DeepWeightFlow: a bottleneck MLP.

Source: Gupta et al. 2026, arXiv:2601.05052, and the settings released with it.
"""

from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp

from wsjax import config
from wsjax.generators.backbones import Condition, Time, Tokens


class DeepWeightFlow(config.Section, nn.Module):
  """Three hidden layers of width H, H/2, H with layer norm and dropout.

  Attributes:
    width: H.
    time_features: size of the learned embedding of the time.
    dropout: rate in the first two hidden layers in training.
  """

  width: Annotated[int, config.Range(min=2)] = 512
  time_features: config.PositiveInt = 64
  dropout: config.Rate = 0.1

  @nn.compact
  def __call__(self, x: Tokens, t: Time, condition: Condition = None, *, train=False) -> Tokens:
    """Predicts the field at tokens x, time t in [0, 1] and a condition."""
    time = nn.Dense(self.time_features, name='time0')(jnp.reshape(t, (1,)))
    time = nn.Dense(self.time_features, name='time1')(nn.gelu(time, approximate=False))
    given = () if condition is None else (condition,)
    h = jnp.concatenate([x.ravel(), time, *given])
    for number, width in enumerate((self.width, self.width // 2, self.width)):
      h = nn.LayerNorm()(nn.Dense(width, name=f'layer{number}')(h))
      h = nn.gelu(h, approximate=False)
      if number < 2:
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
    out = nn.Dense(x.size, kernel_init=nn.initializers.zeros, name='out')(h)
    return out.reshape(x.shape)
