"""Densities along ordinary differential equations.

Source: Chen et al. 2018, arXiv:1806.07366, theorem 1 (instantaneous change of variables); Grathwohl
et al. 2019, arXiv:1810.01367 (Hutchinson's estimate).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.generators.parts import ode

TRACES = ('exact', 'hutchinson')
# The density is that of the equation, not of the steps of a cheap solver of samples.
SOLVER = 'rk4'


def log_prob(
  field: Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array],
  x: typing.Array,
  condition: typing.Array | None,
  *,
  times: np.ndarray,
  noise_std: float,
  trace: str = 'exact',
  num_probes: int = 1,
  key: jax.Array | None = None,
) -> jax.Array:
  """Computes the log-density of Gaussian noise transported by dx/dt = field(x, t).

  Args:
    field: ([T, D], t, [C] or None) -> [T, D].
    x: [b, T, D] at the first time.
    condition: [b, C], or None.
    times: [s], from the samples back to the noise.
    noise_std: standard deviation at the last time.
    trace: of the Jacobian, one of `TRACES`: 'exact' pushes each of the T x D directions through the
      field, 'hutchinson' `num_probes` random ones.
    num_probes: of 'hutchinson'; the estimate has no bias for any number.
    key: of the probes, which each network keeps at all times.

  Returns:
    [b] nats per network.

  Raises:
    ValueError: if the trace is unknown, or lacks a key or probes.
  """
  x = jnp.asarray(x)
  batch, shape = len(x), x.shape[1:]
  directions = _directions(trace, num_probes, key, batch, shape)

  def one(
    x: jax.Array, directions: jax.Array, t: jax.Array, given: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    velocity, push = jax.linearize(lambda x: field(x, t, given), x)
    return velocity, jnp.vdot(directions, jax.vmap(push)(directions))

  def with_divergence(
    state: tuple[jax.Array, jax.Array], t: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    axes = (0, None if trace == 'exact' else 0, None, 0)
    return jax.vmap(one, axes)(state[0], directions, t, condition)

  noise, log_det = ode.along(with_divergence, (x, jnp.zeros(batch)), times, solver=SOLVER)
  log_noise = jax.scipy.stats.norm.logpdf(noise, scale=noise_std)
  return jnp.sum(log_noise.reshape(batch, -1), 1) + log_det


def _directions(
  trace: str, num_probes: int, key: jax.Array | None, batch: int, shape: tuple[int, ...]
) -> jax.Array:
  """Draws vectors v whose sum of v v^T is the identity on average.

  Returns:
    [T x D, T, D] for all networks, or [b, num_probes, T, D].
  """
  if trace == 'exact':
    size = int(np.prod(shape))
    return jnp.eye(size).reshape(size, *shape)
  if trace not in TRACES:
    raise ValueError(f'Unknown trace {trace!r}; allowed: {", ".join(TRACES)}.')
  if key is None or num_probes < 1:
    raise ValueError(
      'hutchinson needs a key and num_probes >= 1; got '
      f'{"no key" if key is None else "a key"} and {num_probes}.'
    )
  signs = jax.random.rademacher(key, (batch, num_probes, *shape), jnp.float32)
  return signs / np.sqrt(num_probes, dtype=np.float32)
