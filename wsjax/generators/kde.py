"""Kernel density: training latents plus noise whose scale a rule of thumb gives.

Sources: the rules are those of Scott 1992, Multivariate Density Estimation, equation 6.42, and
Silverman 1986, Density Estimation, equation 4.14. As a generator of networks: Schurholt et al.
2022, arXiv:2209.14733, section 3.
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

RULES = ('scott', 'silverman')
PER = ('dimension', 'joint')


@flax.struct.dataclass
class State:
  """Training latents, and the standard deviation of the kernel; 0 where they do not vary."""

  points: Float[Array, 'N t d']
  bandwidth: Float[Array, 't d']


@dataclasses.dataclass(frozen=True)
class KDE(config.Section):
  """Generator by Gaussian kernels around the training latents.

  Attributes:
    rule: of the bandwidth.
    per: 'dimension' estimates each of the T D dimensions as if they were independent, as published
      for hyper-representations: a sample takes each coordinate from another network. 'joint'
      estimates one density with kernels of diagonal covariance: a sample is one network plus noise.
    factor: multiplies the bandwidth of the rule, which suits latents of one mode and is too large
      for several; the smaller, the closer to copies.
  """

  rule: Annotated[str, config.OneOf(RULES)] = 'scott'
  per: Annotated[str, config.OneOf(PER)] = 'dimension'
  factor: config.PositiveFloat = 1.0

  def fit(self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None) -> State:
    """Stores the latents and measures the bandwidth; nothing here is random."""
    del key
    num, *shape = latents.shape
    generator.check('kde', shape, shape, condition)
    if num < 2:
      raise ValueError(f'A bandwidth needs 2 networks or more; got {num}.')
    size = 1 if self.per == 'dimension' else math.prod(shape)
    count = num if self.rule == 'scott' else num * (size + 2) / 4
    spread = np.std(np.asarray(latents, np.float64), 0, ddof=1)
    bandwidth = self.factor * spread * count ** (-1 / (size + 4))
    return State(np.asarray(latents, np.float32), bandwidth.astype(np.float32))

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self, params: State, key: jax.Array, num: int, *, shape: Shape, condition: Condition = None
  ) -> Latents:
    """Draws random training latents plus Gaussian noise."""
    count, *fitted = params.points.shape
    generator.check('kde', fitted, shape, condition)
    which_key, noise_key = jax.random.split(key)
    each = shape if self.per == 'dimension' else (1, 1)
    which = jax.random.randint(which_key, (num, *each), 0, count)
    centre = jnp.take_along_axis(jnp.asarray(params.points), which, axis=0)
    noise = jax.random.normal(noise_key, (num, *shape))
    return centre + params.bandwidth[None] * noise

  @functools.partial(jax.jit, static_argnames='self')
  def log_prob(self, params: State, x: Latents, condition: Condition = None) -> LogDensity:
    """Computes the exact density.

    A dimension in which the training latents do not vary counts 0 for a network that agrees with
    them, else minus infinity.
    """
    count, *fitted = params.points.shape
    generator.check('kde', fitted, x.shape[1:], condition)
    width = params.bandwidth[None]
    varies = width > 0
    safe = jnp.where(varies, width, 1.0)

    def one(x: jax.Array) -> jax.Array:
      offset = x[None] - params.points
      kernel = jax.scipy.stats.norm.logpdf(offset / safe) - jnp.log(safe)
      kernel = jnp.where(varies, kernel, jnp.where(offset == 0, 0.0, -jnp.inf))
      if self.per == 'joint':
        kernel = jnp.sum(kernel, (1, 2))
      return jnp.sum(jax.nn.logsumexp(kernel, axis=0) - math.log(count))

    return jax.lax.map(one, jnp.asarray(x))
