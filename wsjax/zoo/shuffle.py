"""Random permutations that are evaluated at single places, with a few integer operations each.

Sorting random keys costs more than the training steps of a small network.
"""

import jax
import jax.numpy as jnp
import numpy as np

NUM_ROUNDS = 32


def permutation(key: jax.Array, places: jax.Array, size: int) -> jax.Array:
  """Values, int32 in [0, size), of a random permutation at some places in [0, size).

  In each round the places x and (turn - x) mod size are partners, and are swapped if a bit of a
  hash of the larger one is set. Every round is a bijection for any hash.

  Source: Hoang, Morris, Rogaway 2012, arXiv:1208.1176, figure 1 ("swap-or-not"); the round function
    here is a multiplicative hash, which mixes, but is not secret.
  """
  bits = jax.random.bits(key, (2, NUM_ROUNDS), jnp.uint32)

  def swap_or_not(x: jax.Array, round_bits: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
    turn, salt = round_bits
    partner = jnp.where(turn >= x, turn - x, turn + np.uint32(size) - x)
    hashed = jnp.maximum(x, partner) * np.uint32(0x9E3779B1) ^ salt
    hashed = (hashed ^ (hashed >> 15)) * np.uint32(0x85EBCA77)
    hashed = (hashed ^ (hashed >> 13)) * np.uint32(0xC2B2AE3D)
    return jnp.where(hashed >> 31 == 1, partner, x), None

  x = jnp.asarray(places).astype(jnp.uint32)
  rounds = (bits[0] % np.uint32(size), bits[1])
  return jax.lax.scan(swap_or_not, x, rounds)[0].astype(jnp.int32)
