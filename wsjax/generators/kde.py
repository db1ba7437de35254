"""Kernel density: training latents, blurred by as much as a rule of thumb says.

Sources: the rules are those of Scott 1992, Multivariate Density Estimation, equation 6.42, and
Silverman 1986, Density Estimation, equation 4.14. As a generator of networks: Schurholt et al.
2022, arXiv:2209.14733, section 3.
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

RULES = ('scott', 'silverman')
PER = ('dimension', 'joint')


@flax.struct.dataclass
class State:
  """The fitted density.

  Attributes:
    points: [N, T, D] latents of the training networks.
    bandwidth: [T, D] standard deviation of the kernel; 0 where the training latents do not vary.
  """

  points: typing.Array
  bandwidth: typing.Array


@dataclasses.dataclass(frozen=True)
class KDE:
  """Gaussian kernels around the training latents.

  Attributes:
    rule: of the bandwidth, one of `RULES`.
    per: 'dimension' estimates each of the T D dimensions by itself, as if they were independent: a
      sample takes each coordinate from another network. 'joint' estimates one density whose kernels
      have diagonal covariance: a sample is one network plus noise.
    factor: multiplies the bandwidth of the rule.
  """

  rule: str
  per: str
  factor: float

  def fit(self, latents: np.ndarray, key: jax.Array, condition: np.ndarray | None = None) -> State:
    """Keeps the latents and measures the bandwidth.

    Args:
      latents: [N, T, D].
      key: not used; nothing here is random.
      condition: must be None.

    Returns:
      The density, float32.

    Raises:
      ValueError: if N < 2, or a condition is given.
    """
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
    self,
    params: State,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: jax.Array | None = None,
  ) -> jax.Array:
    """[num, T, D]: random training latents plus Gaussian noise.

    Raises:
      ValueError: if `shape` is not that of the latents, or a condition is given.
    """
    count, *fitted = params.points.shape
    generator.check('kde', fitted, shape, condition)
    which_key, noise_key = jax.random.split(key)
    each = shape if self.per == 'dimension' else (1, 1)
    which = jax.random.randint(which_key, (num, *each), 0, count)
    centre = jnp.take_along_axis(jnp.asarray(params.points), which, axis=0)
    noise = jax.random.normal(noise_key, (num, *shape))
    return centre + params.bandwidth[None] * noise

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
      [b] nats per network. A dimension in which the training latents do not vary counts 0 for a
      network that agrees with them, else minus infinity.

    Raises:
      ValueError: as `sample`.
    """
    count, *fitted = params.points.shape
    generator.check('kde', fitted, x.shape[1:], condition)
    width = params.bandwidth[None]
    varies = width > 0
    safe = jnp.where(varies, width, 1.0)

    def one(x: jax.Array) -> jax.Array:
      offset = x[None] - params.points
      kernel = jax.scipy.stats.norm.logpdf(offset / safe) - jnp.log(safe)
      point = jnp.where(offset == 0, 0.0, -jnp.inf)
      kernel = jnp.where(varies, kernel, point)
      if self.per == 'joint':
        kernel = jnp.sum(kernel, (1, 2))
      mixed = jax.nn.logsumexp(kernel, axis=0) - math.log(count)
      return jnp.sum(mixed)

    return jax.lax.map(one, jnp.asarray(x))


def make(rule: str = 'scott', per: str = 'dimension', factor: float = 1.0) -> KDE:
  """The kernel density.

  Args:
    rule: of the bandwidth: 'scott' or 'silverman'.
    per: 'dimension', as published for hyper-representations, or 'joint'.
    factor: multiplies the bandwidth of the rule, which suits latents of one mode and blurs more
      than one; the less, the closer to copies.

  Raises:
    ValueError: if one of them is something else, or `factor` <= 0.
  """
  for key, value, allowed in (('rule', rule, RULES), ('per', per, PER)):
    if value not in allowed:
      raise ValueError(f'{key} of a kde is {value!r}; allowed: {", ".join(allowed)}.')
  if factor <= 0:
    raise ValueError(f'factor of a kde is {factor}, not > 0.')
  return KDE(rule, per, factor)
