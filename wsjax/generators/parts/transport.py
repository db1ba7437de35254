"""Optimal transport between the noise and the networks of a batch.

Straight paths between pairs of least total squared length cross less, so that the velocity field is
simpler. On canonical networks it is a transport between representatives of orbits.

Source: Tong et al. 2023, arXiv:2302.00482, section 3.2 (minibatches).
"""

import jax
import jax.numpy as jnp
import optax

from wsjax import typing


def pair(source: typing.Array, batch: typing.Array) -> jax.Array:
  """Reorders noise to pair it with networks.

  Args:
    source: [b, T, D] noise.
    batch: [b, T, D] networks.

  Returns:
    [b, T, D] the noise in the order with the least sum of squared distances.
  """
  source, batch = jnp.asarray(source), jnp.asarray(batch)
  x = source.reshape(len(source), -1)
  y = batch.reshape(len(batch), -1)
  # The squared norms do not depend on the order.
  rows, columns = optax.assignment.hungarian_algorithm(-(y @ x.T))
  order = jnp.zeros(len(source), jnp.int32).at[rows].set(columns)
  return source[order]
