"""Optimal transport within a batch: which noise goes to which network.

Straight paths between pairs of least total squared length cross less, so that the velocity field is
simpler. On canonical networks that is a transport
between representatives of orbits: the quotient is taken before it, not here.

Source: Tong et al. 2023, arXiv:2302.00482, section 3.2 (minibatches).
"""

import jax
import jax.numpy as jnp
import optax

from wsjax import typing


def pair(source: typing.Array, batch: typing.Array) -> jax.Array:
  """Noise in the order of the networks that it goes to.

  Args:
    source: [b, T, D] noise.
    batch: [b, T, D] networks.

  Returns:
    [b, T, D] the same noise: of all orders that of the least sum of squared distances, place by
    place.
  """
  source, batch = jnp.asarray(source), jnp.asarray(batch)
  x = source.reshape(len(source), -1)
  y = batch.reshape(len(batch), -1)
  # The squared norms are the same in every order.
  rows, columns = optax.assignment.hungarian_algorithm(-(y @ x.T))
  order = jnp.zeros(len(source), jnp.int32).at[rows].set(columns)
  return source[order]
