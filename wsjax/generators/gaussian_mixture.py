"""Mixture of Gaussians, fitted by expectation maximization.

Source: Dempster, Laird and Rubin 1977, Journal of the Royal Statistical Society
B 39(1), section 4.3; fitted by scikit-learn on the host.
"""

import dataclasses
import functools
import math
from typing import Annotated

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators import generator
from wsjax.generators.generator import Condition, Latents, LogDensity, Shape

COVARIANCES = ('full', 'diag')


@flax.struct.dataclass
class State:
  """The fitted mixture of K Gaussians in F = T D dimensions.

  `scale` is the lower Cholesky factor [K, F, F] of the covariance if it is full, the standard
  deviations [K, F] if it is diagonal.
  """

  log_weights: Float[Array, ' k']
  means: Float[Array, 'k t d']
  scale: Float[Array, 'k ...']


@dataclasses.dataclass(frozen=True)
class GaussianMixture(config.Section):
  """Generator by a mixture of Gaussians over raveled latents.

  Attributes:
    num_components: number K of Gaussians.
    covariance: 'full', or 'diag', which has far fewer parameters.
    floor: added to every variance, in squared units of the latents, so that no component collapses
      on a network or on directions that the networks do not span.
    max_iterations: of expectation maximization.
  """

  num_components: config.PositiveInt = 8
  covariance: Annotated[str, config.OneOf(COVARIANCES)] = 'full'
  floor: config.PositiveFloat = 1e-6
  max_iterations: config.PositiveInt = 100

  def fit(self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None) -> State:
    """Maximizes the likelihood from one random start; scikit-learn warns if it did not converge."""
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
    root = np.linalg.cholesky if self.covariance == 'full' else np.sqrt
    parts = np.log(model.weights_), model.means_.reshape(-1, *shape), root(model.covariances_)
    return State(*(part.astype(np.float32) for part in parts))

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self, params: State, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Draws a component, then from its Gaussian."""
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
  def log_prob(self, params: State, x: Latents, condition: Condition = None) -> LogDensity:
    """Computes the exact density."""
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
      return log_weight + jnp.sum(jax.scipy.stats.norm.logpdf(noise), 0) - log_det

    parts = jax.vmap(one)(params.log_weights, params.means, params.scale)
    return jax.nn.logsumexp(parts, axis=0)
