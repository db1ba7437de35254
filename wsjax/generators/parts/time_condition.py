"""Features of time and condition that modulate the blocks of backbones."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.tokens import positions

_SIZE = 64  # Of the encoding of the time.


def features(t: jax.Array, condition: jax.Array | None, width: int) -> jax.Array:
  """Computes features [width] of a time in [0, 1] and a condition [C], or None.

  Called inside a compact module, which gets a layer 'given'.
  """
  given = positions.sinusoidal(1000 * t, _SIZE)
  if condition is not None:
    given = jnp.concatenate([given, condition])
  return nn.silu(nn.Dense(width, name='given')(given))
