"""A tree of compositions is the loop that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsjax.generators.parts import linear_recurrence

# Op by op, every operation would be compiled on its own.
SCAN = jax.jit(linear_recurrence.scan)


def loop(decay, inputs):
  """The definition, step by step."""
  state, states = np.zeros(inputs.shape[1:]), []
  for a, b in zip(decay, inputs, strict=True):
    state = a * state + b
    states.append(state)
  return np.stack(states)


@given(
  length=st.sampled_from([1, 2, 7]), seed=st.integers(0, 1000),
  decaying=st.booleans(),
)  # fmt: skip
def test_the_scan_is_the_loop(length, seed, decaying):
  rng = np.random.default_rng(seed)
  decay = rng.uniform(0 if decaying else -1.2, 1 if decaying else 1.2,
                      (length, 3))  # fmt: skip
  decay[rng.random((length, 3)) < 0.2] = 0  # It may forget all at once.
  inputs = rng.standard_normal((length, 3))
  got = SCAN(decay.astype(np.float32), inputs.astype(np.float32))
  np.testing.assert_allclose(got, loop(decay, inputs), rtol=1e-4, atol=1e-4)


def layer():
  module = linear_recurrence.Layer(width=4, state_size=6)
  x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
  return module, jax.jit(module.init)(jax.random.key(0), x), x


def test_a_layer_at_once_and_step_by_step_agree():
  module, variables, x = layer()

  def step(state, x):
    return module.apply(variables, state, x, method='step')

  @jax.jit
  def both(x):
    return module.apply(variables, x), jax.lax.scan(step, jnp.zeros(6), x)[1]

  at_once, steps = both(x)
  np.testing.assert_allclose(at_once, steps, atol=1e-5)


def test_a_layer_is_causal_and_remembers():
  module, variables, x = layer()
  jacobian = jax.jit(jax.jacobian(lambda x: module.apply(variables, x)))(x)
  reads = np.abs(np.asarray(jacobian)).max((1, 3))  # [output, input]
  assert np.all(np.triu(reads, 1) == 0)
  assert np.all(np.tril(reads)[np.tril_indices(9)] > 1e-6)


def test_the_state_has_the_variance_of_its_drive():
  module = linear_recurrence.Layer(width=16, state_size=8)
  x = np.random.default_rng(0).standard_normal((20_000, 16))
  x = x.astype(np.float32)

  @jax.jit
  def states(x):
    variables = jax.jit(module.init)(jax.random.key(0), x[:2])
    decay, inputs, _ = module.apply(variables, x, method='_terms')
    return decay, inputs, linear_recurrence.scan(decay, inputs)

  decay, inputs, after = (np.asarray(value) for value in states(x))
  assert np.all((decay > 0) & (decay < 1))
  drive = inputs / np.sqrt(1 - np.square(decay))
  spread = np.std(after, 0)
  np.testing.assert_allclose(spread, np.std(drive, 0), rtol=0.25)
