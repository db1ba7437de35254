"""A network per condition: one at first, and every weight is reached."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax.generators.parts import task_network
from wsjax.models import mlp

NET = mlp.MLP((4, 3, 2))
CONDITION = np.array([1, -1, 1, -1], np.float32)


@functools.cache
def made(width=16, encoder=None):
  module = task_network.TaskNetwork(NET, encoder, width=width, depth=1)
  given = CONDITION if encoder is None else np.ones((5, 6), np.float32)
  return module, jax.jit(module.init)(jax.random.key(0), given)


def moved(variables):
  """Variables that are nowhere 0."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: np.asarray(leaf) + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32),
    variables,
  )


def test_all_conditions_start_from_one_network_of_the_architecture():
  module, variables = made()
  one, two = (jax.jit(module.apply)(variables, sign * CONDITION) for sign in (1, -1))
  NET.spec.check(one)
  for path in one:
    np.testing.assert_array_equal(one[path], two[path])
  kernel = np.asarray(one['layer0/kernel'])
  assert 0.2 < kernel.std() < 0.9  # Drawn as the architecture draws it.


def test_every_entry_of_the_condition_reaches_every_weight():
  module, variables = made()
  variables = moved(variables)
  jacobian = jax.jit(jax.jacrev(lambda c: module.apply(variables, c)))(CONDITION)
  for path, array in jacobian.items():
    assert np.all(np.isfinite(array)), path
    assert np.mean(np.asarray(array) != 0) > 0.95, path


@pytest.mark.parametrize('width', [8, 256])
def test_a_step_of_adam_moves_weights_alike_at_any_width(width):
  """Without the division the wide one would move 32 times as far."""
  module, variables = made(width)
  tx = optax.adam(1e-2)

  def loss(variables):
    params = module.apply(variables, CONDITION)
    return sum(jnp.sum((x - 1) ** 2) for x in params.values())

  @jax.jit
  def step(variables):
    updates, _ = tx.update(jax.grad(loss)(variables), tx.init(variables), variables)
    return optax.apply_updates(variables, updates)

  before = jax.jit(module.apply)(variables, CONDITION)
  after = jax.jit(module.apply)(step(variables), CONDITION)
  steps = np.concatenate([np.ravel(after[p]) - np.ravel(before[p]) for p in before])
  assert 1e-2 < np.abs(steps).mean() < 3e-2


def test_a_backbone_for_all_conditions_is_the_same_for_each():
  module = task_network.TaskNetwork(NET, width=8, depth=1, reach='last')
  variables = moved(jax.jit(module.init)(jax.random.key(0), CONDITION))
  one, two = (jax.jit(module.apply)(variables, sign * CONDITION) for sign in (1, -1))
  NET.spec.check(one)
  for path in one:
    same = np.array_equal(one[path], two[path])
    assert same == path.startswith('layer0/')
  with pytest.raises(ValueError, match='reach'):
    task_network.TaskNetwork(NET, reach='first')


def test_a_set_of_examples_may_stand_for_the_condition():
  encoder = task_network.SetEncoder(3, width=8, depth=1)
  module, variables = made(16, encoder)
  variables = moved(variables)
  examples = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
  one = jax.jit(module.apply)(variables, examples)
  same = jax.jit(module.apply)(variables, examples[::-1])
  other = jax.jit(module.apply)(variables, examples + 1)
  NET.spec.check(one)
  for path in one:
    np.testing.assert_allclose(one[path], same[path], atol=1e-5)
    assert not np.allclose(one[path], other[path], atol=1e-3)
