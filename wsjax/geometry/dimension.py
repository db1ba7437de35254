"""How many dimensions networks need: subspaces they train in, and the space that a set fills."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from wsjax import typing


def subspace(
  params: typing.Params, dim: int, key: jax.Array
) -> Callable[[Float[Array, ' d']], typing.Params]:
  """A random subspace through a network: coordinates -> parameters.

  Its directions are parts of rows of a Hadamard matrix with random signs: nearly orthonormal, and
  never stored.

  Raises:
    ValueError: unless 1 <= dim <= number of parameters.

  Source: Li et al. 2018, arXiv:1804.08838, section 2; the matrix is a Fastfood one without its
    Gaussian part, Le et al. 2013, arXiv:1408.3060.
  """
  flat, unflatten = ravel_pytree(params)
  if not 1 <= dim <= flat.size:
    raise ValueError(f'dim is {dim}; allowed: 1 to {flat.size}, the number of parameters.')
  bits = int(np.ceil(np.log2(max(flat.size, 2))))
  keys = jax.random.split(key, 3)
  signs = jax.random.rademacher(keys[0], (2, 2**bits), flat.dtype)
  places = jax.random.choice(keys[1], 2**bits, (dim,), replace=False)
  # Those in one block of the matrix would have equal parts.
  kept = jax.random.choice(keys[2], 2**bits, (flat.size,), replace=False)

  def at(z: jax.Array) -> typing.Params:
    x = signs[0] * jnp.zeros(2**bits, flat.dtype).at[places].set(z)
    for bit in range(bits):
      pairs = x.reshape(-1, 2, 2**bit)
      x = jnp.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).ravel()
    return unflatten(flat + (signs[1] * x)[kept] / np.sqrt(flat.size))

  return at


def train_in_subspace(
  loss: Callable[[typing.Params, typing.PyTree], jax.Array],
  params: typing.Params,
  batches: typing.PyTree,
  *,
  dim: int,
  key: jax.Array,
  learning_rate: float = 1e-2,
) -> typing.Params:
  """Trains a network within a random subspace through its start.

  Args:
    loss: (params, batch) -> number.
    params: the start.
    batches: arrays [steps, ...], one batch each.
    dim: of the subspace.
    key: of the subspace.
    learning_rate: of Adam, with cosine decay.

  Source: Li et al. 2018, arXiv:1804.08838, section 2. The intrinsic dimension of a task is the
    smallest one with 90 % of the accuracy of training in the whole space.
  """
  at = subspace(params, dim, key)
  steps = jax.tree.leaves(batches)[0].shape[0]
  optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

  def step(carry, batch):
    z, state = carry
    update, state = optimizer.update(jax.grad(lambda z: loss(at(z), batch))(z), state)
    return (optax.apply_updates(z, update), state), None

  z = jnp.zeros(dim, jax.tree.leaves(params)[0].dtype)
  return at(jax.lax.scan(step, (z, optimizer.init(z)), batches)[0][0])


def two_nearest(distances: Float[np.ndarray, 'n n']) -> float:
  """Dimension of a set of points from the ratio of the distances to their two nearest neighbours.

  Only distances are needed, so that the set may be one of networks up to symmetry. Points with a
  copy in the set are left out.

  Raises:
    ValueError: for fewer than 3 points that have no copy.

  Source: Facco et al. 2017, Scientific Reports 7:12140, eq. 3 by maximum likelihood.
  """
  near = _neighbours(distances, 2)
  ratios = np.log(near[:, 1] / near[:, 0])
  return float((len(ratios) - 1) / ratios.sum())


def likelihood(distances: Float[np.ndarray, 'n n'], *, num_neighbours: int = 10) -> float:
  """Dimension of a set of points by maximum likelihood from the distances to k neighbours.

  Raises:
    ValueError: for fewer than `num_neighbours` + 1 points that have no copy.

  Source: Levina and Bickel 2004, NeurIPS 17, eq. 8, with inverses averaged over points as
    MacKay and Ghahramani 2005 recommend.
  """
  near = _neighbours(distances, num_neighbours)
  inverse = np.log(near[:, -1:] / near[:, :-1]).mean(axis=1)
  return float(1 / inverse.mean())


def principal(vectors: Float[np.ndarray, 'n p']) -> Float[np.ndarray, ' k']:
  """Shares of the variance of a set that its principal directions have, decreasing; k < n.

  Raises:
    ValueError: if all vectors are equal.
  """
  centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
  values = np.linalg.eigvalsh(centred @ centred.T)[::-1][:-1].clip(0)
  if not values.sum() > 0:
    raise ValueError(f'{len(vectors)} equal vectors have no principal directions.')
  return values / values.sum()


def participation(shares: Float[typing.Array, ' k']) -> Float[typing.Array, '']:
  """Effective number of dimensions (sum of values)^2 / sum of squares, from shares or eigenvalues.

  Source: Gao et al. 2017, bioRxiv 214262, eq. 5. Of the eigenvalues of the Fisher information it is
    an effective number of parameters.
  """
  return shares.sum() ** 2 / (shares**2).sum()


def number_for(shares: Float[np.ndarray, ' k'], share: float = 0.9) -> int:
  """Number of principal directions that together have a share of the variance."""
  return int(np.searchsorted(np.cumsum(shares) / np.sum(shares), share - 1e-9) + 1)


def fisher(
  loss: Callable[[typing.Params, typing.PyTree], jax.Array],
  params: typing.Params,
  examples: typing.PyTree,
) -> Float[Array, ' n']:
  """Eigenvalues of the empirical Fisher information of a network that are not 0, decreasing.

  Args:
    loss: (params, batch) -> mean negative log-likelihood, nats.
    params: of one network.
    examples: arrays [n, ...].

  Source: the matrix of products of gradients of n examples has the same eigenvalues as the mean of
    their outer products (Kunstner et al. 2019, arXiv:1905.12558, eq. 3).
  """

  def gradient(example: typing.PyTree) -> jax.Array:
    one = jax.tree.map(lambda x: x[None], example)
    return ravel_pytree(jax.grad(loss)(params, one))[0]

  gradients = jax.vmap(gradient)(examples)
  return jnp.linalg.eigvalsh(gradients @ gradients.T / len(gradients))[::-1]


def _neighbours(distances: np.ndarray, count: int) -> np.ndarray:
  """[m, count] distances to the nearest other points, increasing, of points without a copy."""
  others = np.where(np.eye(len(distances), dtype=bool), np.inf, distances)
  near = np.sort(others, axis=1)[:, :count]
  near = near[near[:, 0] > 0]
  if len(near) < count + 1:
    raise ValueError(
      f'{count} neighbours need at least {count + 1} points without a copy; got {len(near)}.'
    )
  return near
