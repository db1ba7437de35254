"""Maxima whose gradients go to all entries that reach them up to rounding, in equal parts.

A compiler may compute the entries twice and round them differently; then none equals the maximum
exactly, and the gradient of `jnp.max` is 0/0.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Units in the last place by which two ways to compute an entry may differ.
_DIGITS = 8


def over(x: jax.Array, axes: int | Sequence[int]) -> jax.Array:
  """Maximum over axes, which are dropped."""
  axes = (axes,) if isinstance(axes, int) else tuple(axes)
  still = jax.lax.stop_gradient(x)
  most = still.max(axes, keepdims=True)
  near = _reach(still, most)
  share = near / jnp.maximum(near.sum(axes, keepdims=True), 1)
  return most.squeeze(axes) + jnp.sum(share * (x - still), axes)


def of_segments(x: jax.Array, segments: jax.Array, num: int) -> jax.Array:
  """Maximum of every segment of the rows [N, d], [num, d]; -inf of an empty."""
  still = jax.lax.stop_gradient(x)
  most = jax.ops.segment_max(still, segments, num)
  near = _reach(still, most[segments])
  count = jax.ops.segment_sum(near, segments, num)
  share = near / jnp.maximum(count, 1)[segments]
  return most + jax.ops.segment_sum(share * (x - still), segments, num)


def _reach(x: jax.Array, most: jax.Array) -> jax.Array:
  """1 where x is the maximum up to rounding, 0 elsewhere."""
  rounding = _DIGITS * jnp.finfo(x.dtype).eps
  return (x >= most - rounding * (1 + jnp.abs(most))).astype(x.dtype)
