"""Ordinary differential equations from noise to samples, by diffrax, and densities along them."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing

TRACES = ('exact', 'hutchinson')
# (x, scalar time) -> dx/dt; arrays, or trees of them.
Field = Callable[[typing.PyTree, jax.Array], typing.PyTree]


class RK4(diffrax.AbstractERK):
  """The classic Runge-Kutta method of fourth order, for constant steps; diffrax lacks it."""

  tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
    c=np.array([1 / 2, 1 / 2, 1]),
    b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    b_error=np.zeros(4),  # No embedded method.
    a_lower=(np.array([1 / 2]), np.array([0, 1 / 2]), np.array([0, 0, 1])),
  )
  interpolation_cls: ClassVar[Callable] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

  def order(self, terms: diffrax.AbstractTerm) -> int:
    """4."""
    del terms
    return 4


SOLVERS = {'euler': diffrax.Euler, 'midpoint': diffrax.Midpoint, 'heun': diffrax.Heun, 'rk4': RK4}


def integrate(field: Field, x: jax.Array, *, solver: str, num_steps: int) -> jax.Array:
  """Solves dx/dt = field(x, t) from x [*b] at t = 0 to t = 1 in equal steps of a solver."""
  steps = diffrax.ConstantStepSize()
  span = {'t0': 0.0, 't1': 1.0, 'dt0': 1 / num_steps, 'max_steps': num_steps + 1}
  return _solve(field, x, solver, stepsize_controller=steps, **span)


def along(field: Field, x: typing.PyTree, times: np.ndarray, *, solver: str) -> typing.PyTree:
  """Solves dx/dt = field(x, t) from a tree x at the first time to the last, in steps between them.

  Times [s] increase or decrease, s >= 2.
  """
  steps = diffrax.StepTo(ts=times)
  span = {'t0': times[0], 't1': times[-1], 'dt0': None, 'max_steps': len(times)}
  return _solve(field, x, solver, stepsize_controller=steps, **span)


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
    trace: of the Jacobian: 'exact' pushes each of the T x D directions through the field,
      'hutchinson' `num_probes` random ones.
    num_probes: of 'hutchinson'; the estimate has no bias for any number.
    key: of the probes, which each network keeps at all times.

  Returns:
    [b] nats per network.

  Raises:
    ValueError: if the trace is unknown, or lacks a key or probes.

  Source: Chen et al. 2018, arXiv:1806.07366, theorem 1 (instantaneous change of variables);
    Grathwohl et al. 2019, arXiv:1810.01367 (Hutchinson's estimate).
  """
  x = jnp.asarray(x)
  batch, shape = len(x), x.shape[1:]
  directions = _directions(trace, num_probes, key, batch, shape)

  def one(x: jax.Array, directions: jax.Array, t: jax.Array, given: jax.Array | None):
    velocity, push = jax.linearize(lambda x: field(x, t, given), x)
    return velocity, jnp.vdot(directions, jax.vmap(push)(directions))

  def with_divergence(state: typing.PyTree, t: jax.Array) -> typing.PyTree:
    axes = (0, None if trace == 'exact' else 0, None, 0)
    return jax.vmap(one, axes)(state[0], directions, t, condition)

  # The density is that of the equation, not of the steps of a cheap solver of samples.
  noise, log_det = along(with_divergence, (x, jnp.zeros(batch)), times, solver='rk4')
  log_noise = jax.scipy.stats.norm.logpdf(noise, scale=noise_std)
  return jnp.sum(log_noise.reshape(batch, -1), 1) + log_det


def _directions(
  trace: str, num_probes: int, key: jax.Array | None, batch: int, shape: tuple[int, ...]
) -> jax.Array:
  """Draws vectors v whose sum of v v^T is the identity on average.

  They are [T x D, T, D] for all networks, or [b, num_probes, T, D].
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


def _solve(field: Field, x: typing.PyTree, solver: str, **settings: Any) -> typing.PyTree:
  """Solves by diffrax and returns the state at t1."""
  solution = diffrax.diffeqsolve(
    diffrax.ODETerm(lambda t, y, _: field(y, t)),
    SOLVERS[solver](),
    y0=x,
    saveat=diffrax.SaveAt(t1=True),
    adjoint=diffrax.DirectAdjoint(),
    **settings,
  )
  return jax.tree.map(lambda leaf: leaf[0], solution.ys)
