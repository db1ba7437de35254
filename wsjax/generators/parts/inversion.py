"""Inversion: the noise behind latents that a generator made, and that were changed since."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Residuals beyond so many deviations count linearly: pruned weights are far off.
_ROBUST = 2.0


def invert(
  fn: Callable[[Float[Array, ' k']], Float[Array, ' d']],
  target: Float[Array, ' d'],
  start: Float[Array, ' k'],
  std: Float[Array, ' d'],
  *,
  steps: int = 12,
) -> tuple[Float[Array, ' k'], Float[Array, '']]:
  """Finds the most likely standard normal noise z for target = fn(z) + heavy-tailed error.

  Args:
    fn: differentiable map of noise.
    target: what it gave, with an error.
    start: noise near the solution.
    std: deviation of the error, per coordinate.
    steps: of the Levenberg-Marquardt method; those that do not help are not taken.

  Returns:
    The noise and the objective there, of which lower is more likely.

  Source: Marquardt 1963, doi:10.1137/0111030; Charbonnier et al. 1997, doi:10.1109/83.551699
    (the error, pseudo-Huber).
  """
  jacobian = jax.jacfwd(fn)

  def objective(z: jax.Array) -> jax.Array:
    ratio = ((target - fn(z)) / std) ** 2 / _ROBUST**2
    return _ROBUST**2 * jnp.sum(jnp.sqrt(1 + ratio) - 1) + jnp.sum(z**2) / 2

  def step(_: int, carry: tuple) -> tuple:
    z, damping, best = carry
    residual, slopes = target - fn(z), jacobian(z)
    weight = 1 / (std**2 * jnp.sqrt(1 + (residual / std) ** 2 / _ROBUST**2))
    curvature = (slopes * weight[:, None]).T @ slopes + jnp.eye(len(z))
    gradient = slopes.T @ (weight * residual) - z
    damped = curvature + damping * jnp.diag(jnp.diag(curvature))
    moved = z + jnp.linalg.solve(damped, gradient)
    value = objective(moved)
    better = value < best
    damping = jnp.where(better, damping / 4, damping * 4)
    return jnp.where(better, moved, z), damping, jnp.where(better, value, best)

  first = (start, jnp.asarray(0.05, start.dtype), objective(start))
  z, _, value = jax.lax.fori_loop(0, steps, step, first)
  return z, value
