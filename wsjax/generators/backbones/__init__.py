"""Backbones: networks that predict a field over the tokens of one network."""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config
from wsjax.tokens import positions

# Called as `backbone(x, t, condition, train=...)` with tokens x [T, D], a scalar time t in [0, 1]
# and a condition [C] or None; gives [T, D], zero at initialisation.
Backbone = Annotated[nn.Module, config.Plugin('generators.backbones')]
Tokens = Float[Array, 't d']
Time = Float[Array, '']
Condition = Float[Array, ' c'] | None

_SIZE = 64  # Of the encoding of the time.


def features(t: jax.Array, condition: jax.Array | None, width: int) -> jax.Array:
  """Computes features [width] of a time in [0, 1] and a condition [C], or None.

  Called inside a compact module, which gets a layer 'given'.
  """
  given = positions.sinusoidal(1000 * t, _SIZE)
  if condition is not None:
    given = jnp.concatenate([given, condition])
  return nn.silu(nn.Dense(width, name='given')(given))
