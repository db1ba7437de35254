"""Time and condition as features, by which backbones modulate their blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.tokens import positions

_SIZE = 64  # Of the encoding of the time.


def features(t: jax.Array, condition: jax.Array | None, width: int) -> jax.Array:
  """[width] features of a time in [0, 1] and a condition [C], or None.

  To be called inside a compact module, whose layer 'given' this becomes.
  """
  given = positions.sinusoidal(1000 * t, _SIZE)
  if condition is not None:
    given = jnp.concatenate([given, condition])
  return nn.silu(nn.Dense(width, name='given')(given))
