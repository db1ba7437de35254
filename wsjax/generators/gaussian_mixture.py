"""A mixture of Gaussians, fitted by expectation maximization.

Source: Dempster, Laird and Rubin 1977, Journal of the Royal Statistical
Society B 39(1), section 4.3; fitted by scikit-learn on the host.
"""

import dataclasses
import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.generators import generator

COVARIANCES = ('full', 'diag')


@flax.struct.dataclass
class State:
  """The fitted mixture of K Gaussians in F = T D dimensions.

  Attributes:
    log_weights: [K] logarithms of the shares, nats.
    means: [K, T, D].
    scale: lower Cholesky factor [K, F, F] of the covariance if it is full, standard deviations [K,
      F] if it is diagonal.
  """

  log_weights: typing.Array
  means: typing.Array
  scale: typing.Array


@dataclasses.dataclass(frozen=True)
class GaussianMixture:
  """Generator by a mixture of Gaussians over raveled latents.

  Attributes:
    num_components: K.
    covariance: one of `COVARIANCES`.
    floor: added to every variance, in squared units of the latents.
    max_iterations: of expectation maximization.
  """

  num_components: int
  covariance: str
  floor: float
  max_iterations: int

  def fit(self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None) -> State:
    """The mixture of the largest likelihood found from one random start.

    Args:
      latents: [N, T, D].
      key: of the start.
      condition: must be None.

    Returns:
      The mixture, float32. scikit-learn warns if it did not converge.

    Raises:
      ValueError: if there are fewer networks than components, or a condition is given.
    """
    from sklearn import mixture  # A second to import.

    num, *shape = latents.shape
    generator.check('gaussian_mixture', shape, shape, condition)
    if num < self.num_components:
      raise ValueError(f'{num} networks are fewer than {self.num_components} components.')
    model = mixture.GaussianMixture(
      self.num_components,
      covariance_type=self.covariance,
      reg_covar=self.floor,
      max_iter=self.max_iterations,
      random_state=int(jax.random.bits(key)),
    ).fit(np.asarray(latents, np.float64).reshape(num, -1))
    if self.covariance == 'full':
      scale = np.linalg.cholesky(model.covariances_)
    else:
      scale = np.sqrt(model.covariances_)
    return State(
      np.log(model.weights_).astype(np.float32),
      model.means_.reshape(-1, *shape).astype(np.float32),
      scale.astype(np.float32),
    )

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self,
    params: State,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """[num, T, D]: a component, then a draw from its Gaussian.

    Raises:
      ValueError: if `shape` is not that of the latents, or a condition is given.
    """
    generator.check('gaussian_mixture', params.means.shape[1:], shape, condition)
    which_key, noise_key = jax.random.split(key)
    which = jax.random.categorical(which_key, params.log_weights, shape=(num,))
    noise = jax.random.normal(noise_key, (num, math.prod(shape)))
    scale, means = jnp.asarray(params.scale), jnp.asarray(params.means)

    def one(which: jax.Array, noise: jax.Array) -> jax.Array:
      own = scale[which]
      moved = own @ noise if self.covariance == 'full' else own * noise
      return means[which] + moved.reshape(shape)

    return jax.lax.map(lambda pair: one(*pair), (which, noise))

  @functools.partial(jax.jit, static_argnames='self')
  def log_prob(
    self, params: State, x: typing.Array, condition: typing.Array | None = None
  ) -> jax.Array:
    """Exact log-density.

    Args:
      params: from `fit`.
      x: [b, T, D] latents.
      condition: must be None.

    Returns:
      [b] nats per network.

    Raises:
      ValueError: as `sample`.
    """
    generator.check('gaussian_mixture', params.means.shape[1:], x.shape[1:], condition)
    flat = jnp.reshape(x, (len(x), -1))

    def one(log_weight: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
      centred = (flat - jnp.ravel(mean)[None]).T
      if self.covariance == 'full':
        noise = jax.scipy.linalg.solve_triangular(scale, centred, lower=True)
        log_det = jnp.sum(jnp.log(jnp.diagonal(scale)))
      else:
        noise = centred / scale[:, None]
        log_det = jnp.sum(jnp.log(scale))
      density = jnp.sum(jax.scipy.stats.norm.logpdf(noise), 0)
      return log_weight + density - log_det

    parts = jax.vmap(one)(params.log_weights, params.means, params.scale)
    return jax.nn.logsumexp(parts, axis=0)


def make(
  num_components: int = 8, covariance: str = 'full', floor: float = 1e-6, max_iterations: int = 100
) -> GaussianMixture:
  """The mixture of Gaussians.

  Args:
    num_components: number of Gaussians.
    covariance: 'full', or 'diag', which has far fewer parameters.
    floor: added to every variance, so that no component collapses on a network or on directions
      that the networks do not span.
    max_iterations: of expectation maximization.

  Raises:
    ValueError: if one of them is out of range.
  """
  if covariance not in COVARIANCES:
    raise ValueError(
      f'covariance of a gaussian_mixture is {covariance!r}; allowed: {", ".join(COVARIANCES)}.'
    )
  if num_components < 1 or floor <= 0 or max_iterations < 1:
    raise ValueError(
      'A gaussian_mixture needs num_components >= 1, floor > 0 and '
      f'max_iterations >= 1; got {num_components}, {floor} and '
      f'{max_iterations}.'
    )
  return GaussianMixture(num_components, covariance, floor, max_iterations)
