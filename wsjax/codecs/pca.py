"""PCA codec: principal components of the training networks, by the Gram matrix.

For N networks of D >> N weights this costs N^2 D, and the D x D covariance D^3.

Source: Turk and Pentland 1991, Journal of Cognitive Neuroscience 3(1), section 3 (eigenvectors from
the Gram matrix).
"""

import dataclasses

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.tokens import normalize


@flax.struct.dataclass
class State:
  """Mean and principal components of the training tokens.

  Attributes:
    basis: orthonormal directions, largest variance first.
    scale: divisor of every coordinate: its standard deviation if whitened, else 1.
    variance: of the training tokens along each direction.
  """

  mean: Float[Array, 't d']
  basis: Float[Array, 't d rank']
  scale: Float[Array, ' rank']
  variance: Float[Array, ' rank']


@dataclasses.dataclass(frozen=True)
class PCA(config.Section):
  """Codec by principal components; latents are [*b, 1, rank].

  Attributes:
    rank: number of directions, at most the number of networks - 1. At that limit every latent is an
      affine combination of the training networks.
    whiten: whether latents have unit variance along every direction, so that noise of one scale
      suits them all; else they keep the units of tokens.
  """

  rank: config.PositiveInt
  whiten: bool = False

  def fit(self, x: np.ndarray) -> State:
    """Computes the directions of the largest variance, in float64.

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
    arrays = mean.reshape(shape), basis.reshape(*shape, self.rank), scale, variance
    return State(*(x.astype(np.float32) for x in arrays))

  def encode(self, state: State, x: Float[Array, '*b t d']) -> Float[Array, '*b 1 rank']:
    """Computes the coordinates of tokens."""
    z = jnp.tensordot(x - normalize.like(state.mean, x), state.basis, 2)[..., None, :]
    return z / normalize.like(state.scale, z)

  def decode(self, state: State, z: Float[Array, '*b 1 rank']) -> Float[Array, '*b t d']:
    """Computes the tokens at coordinates."""
    z = z * normalize.like(state.scale, z)
    x = jnp.tensordot(z[..., 0, :], jnp.moveaxis(state.basis, -1, 0), 1)
    return x + normalize.like(state.mean, x)
