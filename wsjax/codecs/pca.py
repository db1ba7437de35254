"""Principal components of the training networks, by the Gram matrix.

With N networks of D weights, N << D, the N x N matrix of inner products has the same spectrum as
the D x D covariance and costs N^2 D instead of D^3.

Source: Turk and Pentland 1991, Journal of Cognitive Neuroscience 3(1), section 3 (eigenvectors from
the Gram matrix).
"""

import dataclasses

import flax.struct
import jax.numpy as jnp
import numpy as np

from wsjax import typing


@flax.struct.dataclass
class LinearState:
  """What the codec learned.

  Attributes:
    mean: [T, D] mean of the training tokens.
    basis: [T, D, rank] orthonormal directions, largest variance first.
    scale: [rank] what a coordinate is divided by: its standard deviation if whitened, else 1.
    variance: [rank] variance of the training tokens along each direction.
  """

  mean: typing.Array
  basis: typing.Array
  scale: typing.Array
  variance: typing.Array


@dataclasses.dataclass(frozen=True)
class Linear:
  """PCA codec; latents are [*b, 1, rank]."""

  rank: int
  whiten: bool = False

  def fit(self, x: np.ndarray) -> LinearState:
    """Directions of the largest variance of the networks given.

    Args:
      x: [N, T, D] tokens of the training split only.

    Returns:
      The state, float32.

    Raises:
      ValueError: if `rank` exceeds the dimensions that the networks span, which is at most N - 1.
    """
    num, *shape = x.shape
    if self.rank > num - 1:
      raise ValueError(
        f'{num} networks span at most {num - 1} directions around their mean; rank is {self.rank}.'
      )
    flat = np.asarray(x, np.float64).reshape(num, -1)
    mean = flat.mean(0)
    flat -= mean
    dual = num <= flat.shape[1]
    values, vectors = np.linalg.eigh(flat @ flat.T if dual else flat.T @ flat)
    values, vectors = values[::-1], vectors[:, ::-1]
    # Squared singular values below float32 resolution are noise.
    span = int(np.sum(values > values[0] * 1e-13))
    if self.rank > span:
      raise ValueError(
        f'The {num} networks span {span} directions around their mean; rank is {self.rank}.'
      )
    values, vectors = values[: self.rank], vectors[:, : self.rank]
    basis = flat.T @ vectors / np.sqrt(values) if dual else vectors
    variance = values / (num - 1)
    scale = np.sqrt(variance) if self.whiten else np.ones(self.rank)
    return LinearState(
      mean.reshape(shape).astype(np.float32),
      basis.reshape(*shape, self.rank).astype(np.float32),
      scale.astype(np.float32),
      variance.astype(np.float32),
    )

  def encode(self, state: LinearState, x: typing.Array) -> typing.Array:
    """[*b, 1, rank] coordinates of [*b, T, D] tokens."""
    centred = x - jnp.reshape(state.mean, _lead(x, 2) + state.mean.shape)
    z = jnp.tensordot(centred, state.basis, 2)[..., None, :]
    return z / jnp.reshape(state.scale, _lead(z, 1) + state.scale.shape)

  def decode(self, state: LinearState, z: typing.Array) -> typing.Array:
    """[*b, T, D] tokens at [*b, 1, rank] coordinates."""
    z = z * jnp.reshape(state.scale, _lead(z, 1) + state.scale.shape)
    x = jnp.tensordot(z[..., 0, :], jnp.moveaxis(state.basis, -1, 0), 1)
    return x + jnp.reshape(state.mean, _lead(x, 2) + state.mean.shape)

  def ceiling(self, state: LinearState, x: np.ndarray) -> np.ndarray:
    """Relative reconstruction error: what no generator behind it can beat.

    Args:
      state: from `fit`.
      x: [N, T, D] tokens, of networks the codec need not have seen.

    Returns:
      [N] |x - decode(encode(x))| / |x|, norms over a network.
    """
    x = np.asarray(x, np.float32)
    return relative_error(x, self.decode(state, self.encode(state, x)))


def relative_error(x: np.ndarray, decoded: typing.Array) -> np.ndarray:
  """[N] |x - decoded| / |x| of tokens [N, T, D], norms over a network."""
  error = x - np.asarray(decoded)
  norm = np.linalg.norm(x.reshape(len(x), -1), axis=-1)
  error = np.linalg.norm(error.reshape(len(x), -1), axis=-1)
  return error / np.maximum(norm, np.finfo(np.float32).tiny)


def make(rank: int, whiten: bool = False) -> Linear:
  """The PCA codec.

  Args:
    rank: number of directions, at most the number of networks - 1. At that limit every latent is an
      affine combination of the training networks.
    whiten: whether latents have unit variance along every direction, so that noise of one scale
      suits them all; else they keep the units of tokens.

  Raises:
    ValueError: if `rank` < 1.
  """
  if rank < 1:
    raise ValueError(f'A linear codec needs rank >= 1; got {rank}.')
  return Linear(rank, whiten)


def _lead(x: typing.Array, trailing: int) -> tuple[int, ...]:
  """Ones for the leading axes of `x`, so that ranks match explicitly."""
  return (1,) * (x.ndim - trailing)
