"""Solvers converge at the order they claim."""

import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generators.parts import ode

ORDERS = {'euler': 1, 'midpoint': 2, 'heun': 2, 'rk4': 4}


def error(solver, num_steps):
  """Of dx/dt = x, whose solution is exp(t)."""
  x = ode.integrate(lambda x, t: x, jnp.ones(2), solver=solver, num_steps=num_steps)
  return np.abs(np.asarray(x, np.float64) - np.e).max()


@pytest.mark.parametrize('solver', ode.SOLVERS)
def test_halving_the_steps_gains_the_order(solver):
  coarse, fine = (2, 4) if solver == 'rk4' else (16, 32)
  gain = np.log2(error(solver, coarse) / error(solver, fine))
  assert abs(gain - ORDERS[solver]) < 0.6


def test_rk4_takes_the_steps_of_the_textbook():
  def field(x, t):
    return jnp.sin(x) + t

  x = reference = np.float32(0.3)
  x = ode.integrate(field, jnp.float32(x), solver='rk4', num_steps=3)
  h = 1 / 3
  for i in range(3):
    t = i * h
    k1 = np.sin(reference) + t
    k2 = np.sin(reference + h / 2 * k1) + t + h / 2
    k3 = np.sin(reference + h / 2 * k2) + t + h / 2
    k4 = np.sin(reference + h * k3) + t + h
    reference += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
  np.testing.assert_allclose(x, reference, rtol=1e-6)


@pytest.mark.parametrize('times', [[0, 0.2, 0.5, 1], [1, 0.3, 0]])
def test_along_takes_the_steps_given(times):
  times = np.asarray(times, np.float32)
  x = ode.along(lambda x, t: x + t, jnp.ones(2), times, solver='euler')
  want = 1.0
  for t, later in zip(times[:-1], times[1:], strict=True):
    want += (later - t) * (want + t)
  np.testing.assert_allclose(x, want, rtol=1e-6)
