"""Ordinary differential equations from noise to samples, by diffrax."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import numpy as np

from wsjax import typing


class RK4(diffrax.AbstractERK):
  """The classic Runge-Kutta method of fourth order, which diffrax lacks.

  The published samplers of weights use it, with constant steps.
  """

  tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
    c=np.array([1 / 2, 1 / 2, 1]),
    b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    b_error=np.zeros(4),  # No embedded method: for constant steps only.
    a_lower=(np.array([1 / 2]), np.array([0, 1 / 2]), np.array([0, 0, 1])),
  )
  interpolation_cls: ClassVar[Callable] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

  def order(self, terms: diffrax.AbstractTerm) -> int:
    """4."""
    del terms
    return 4


SOLVERS = {'euler': diffrax.Euler, 'midpoint': diffrax.Midpoint, 'heun': diffrax.Heun, 'rk4': RK4}


def integrate(
  field: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, *, solver: str, num_steps: int
) -> jax.Array:
  """Solves dx/dt = field(x, t) from t = 0 to t = 1 in equal steps.

  Args:
    field: ([*b], scalar) -> [*b].
    x: [*b] at t = 0.
    solver: key of `SOLVERS`.
    num_steps: of the solver.

  Returns:
    [*b] at t = 1.
  """
  return _solve(
    field,
    x,
    solver=solver,
    t0=0.0,
    t1=1.0,
    dt0=1 / num_steps,
    stepsize_controller=diffrax.ConstantStepSize(),
    max_steps=num_steps + 1,
  )


def along(
  field: Callable[[typing.PyTree, jax.Array], typing.PyTree],
  x: typing.PyTree,
  times: np.ndarray,
  *,
  solver: str,
) -> typing.PyTree:
  """Solves dx/dt = field(x, t) in steps that end at given times.

  Args:
    field: ([*b], scalar) -> [*b]; or trees of arrays, if x is one.
    x: [*b] at the first time, or a tree of arrays.
    times: [s] increasing or decreasing, s >= 2.
    solver: key of `SOLVERS`.

  Returns:
    [*b] at the last time.
  """
  return _solve(
    field,
    x,
    solver=solver,
    t0=times[0],
    t1=times[-1],
    dt0=None,
    stepsize_controller=diffrax.StepTo(ts=times),
    max_steps=len(times),
  )


def _solve(
  field: Callable[[typing.PyTree, jax.Array], typing.PyTree],
  x: typing.PyTree,
  *,
  solver: str,
  **settings: Any,
) -> typing.PyTree:
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
