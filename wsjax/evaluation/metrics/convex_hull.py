"""Hull: how much of a sample is a blend of training networks?

A blend of networks is far from each of them and so passes any test of the nearest one. It is near
to their convex hull.
"""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import methods

NUM_STEPS = 300

# Hulls that one call of the compiled program takes.
_HULLS_PER_CALL = 32


def simplex(values: jax.Array) -> jax.Array:
  """The nearest point [k] with entries >= 0 of sum 1.

  Source: Duchi et al. 2008, doi:10.1145/1390156.1390191, figure 1.
  """
  falling = jnp.sort(values)[::-1]
  count = jnp.arange(1, len(values) + 1)
  excess = (jnp.cumsum(falling) - 1) / count
  last = jnp.sum(falling > excess) - 1
  return jnp.maximum(values - excess[last], 0)


def project(gram: typing.Array) -> jax.Array:
  """Weights of the point of a convex hull that is nearest to the origin.

  Args:
    gram: [k, k] inner products of the corners.

  Returns:
    [k] weights, >= 0 of sum 1, after 300 accelerated steps.

  Source: Beck and Teboulle 2009, doi:10.1137/080716542 (the iteration); O'Donoghue and Candes 2015,
    arXiv:1204.3982 (restart where it turns back).
  """
  step = 1 / jnp.maximum(jnp.linalg.norm(gram), 1e-30)
  start = jnp.full(len(gram), 1 / len(gram))

  def body(carry: tuple, _: None) -> tuple[tuple, None]:
    weights, ahead, speed = carry
    new = simplex(ahead - step * gram @ ahead)
    back = jnp.dot(ahead - new, new - weights) > 0
    speed = jnp.where(back, 1.0, speed)
    faster = (1 + jnp.sqrt(1 + 4 * speed**2)) / 2
    momentum = jnp.where(back, 0.0, (speed - 1) / faster)
    return (new, new + momentum * (new - weights), faster), None

  carry, _ = jax.lax.scan(body, (start, start, jnp.float32(1)), None, length=NUM_STEPS)
  return carry[0]


def residual(gram: typing.Array) -> np.ndarray:
  """Distance to the hull of the neighbours over that to the nearest of them.

  Args:
    gram: [N, k, k] inner products of (neighbour - network), for each network.

  Returns:
    [N] in [0, 1]: 0 for a blend of the neighbours, 1 for a network that no blend is nearer to than
    the nearest neighbour, as for copies with noise.
  """
  gram = np.asarray(gram, np.float32)
  if not len(gram):
    return np.zeros(0)
  nearest = np.diagonal(gram, axis1=1, axis2=2).min(axis=1)
  # The last digits of a hull around a copy mean nothing.
  copies = nearest <= 1e-12 * np.max(gram, axis=(1, 2))
  scale = np.where(copies, 1, nearest)[:, None, None]
  gram = gram / scale
  parts = [
    np.asarray(_least(chunk['gram'])) for chunk in methods.chunks({'gram': gram}, _HULLS_PER_CALL)
  ]
  least = np.concatenate(parts)[: len(gram)]
  left = np.minimum(np.sqrt(np.maximum(least, 0)), 1)
  return np.where(copies, 1.0, left).astype(np.float64)


@jax.jit
def _least(gram: jax.Array) -> jax.Array:
  def one(products: jax.Array) -> jax.Array:
    weights = project(products)
    return weights @ products @ weights

  return jax.vmap(one)(gram)
