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
  return module, module.init(jax.random.key(0), given)


def moved(variables):
  """Variables that are nowhere 0."""
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [
    leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)
  ]
  return jax.tree.unflatten(tree, leaves)


def test_all_conditions_start_from_one_network_of_the_architecture():
  module, variables = made()
  one, two = (module.apply(variables, sign * CONDITION) for sign in (1, -1))
  NET.spec.check(one)
  for path in one:
    np.testing.assert_array_equal(one[path], two[path])
  kernel = np.asarray(one['layer0/kernel'])
  assert 0.2 < kernel.std() < 0.9  # Drawn as the architecture draws it.


def test_every_entry_of_the_condition_reaches_every_weight():
  module, variables = made()
  jacobian = jax.jacrev(lambda c: module.apply(moved(variables), c))(CONDITION)
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

  updates, _ = tx.update(jax.grad(loss)(variables), tx.init(variables), variables)
  before = module.apply(variables, CONDITION)
  after = module.apply(optax.apply_updates(variables, updates), CONDITION)
  steps = np.concatenate([np.ravel(after[p] - before[p]) for p in before])
  assert 1e-2 < np.abs(steps).mean() < 3e-2


def test_a_backbone_for_all_conditions_is_the_same_for_each():
  module = task_network.TaskNetwork(NET, width=8, depth=1, reach='last')
  variables = moved(module.init(jax.random.key(0), CONDITION))
  one, two = (module.apply(variables, sign * CONDITION) for sign in (1, -1))
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
  one = module.apply(variables, examples)
  same = module.apply(variables, examples[::-1])
  other = module.apply(variables, examples + 1)
  NET.spec.check(one)
  for path in one:
    np.testing.assert_allclose(one[path], same[path], atol=1e-5)
    assert not np.allclose(one[path], other[path], atol=1e-3)
