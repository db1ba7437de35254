"""A prompted update: nothing at first, equivariant always, and it reads all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsjax.generators.parts import prompted
from wsjax.models import mlp
from wsjax.symmetry import group as group_lib

ARCHITECTURE = mlp.MLP((5, 4, 3))
SPEC = ARCHITECTURE.spec
SCALES = tuple((leaf.path, 0.5) for leaf in SPEC.leaves)
MODULE = prompted.Prompted(SPEC, SCALES, width=16, depth=2, num_heads=2)
APPLY = jax.jit(MODULE.apply)


def network(seed):
  rng = np.random.default_rng(seed)
  return {leaf.path: rng.normal(size=leaf.shape).astype(np.float32) for leaf in SPEC.leaves}


@functools.cache
def untrained():
  return jax.jit(MODULE.init)(jax.random.key(0), network(0), 1.0, 1.0)


@functools.cache
def random_variables():
  """No zeros, so that every part of the module has its say."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32), untrained()
  )


def farthest(a, b):
  return max(float(jnp.abs(a[path] - b[path]).max()) for path in a)


@pytest.mark.slow
def test_before_training_the_weights_stay_as_they_are():
  start = network(3)
  assert farthest(APPLY(untrained(), start, 2.0, 0.1), start) == 0
  assert farthest(APPLY(random_variables(), start, 2.0, 0.1), start) > 0.1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**20), st.permutations(range(4)))
def test_units_moved_before_the_update_are_moved_behind_it(seed, order):
  start, perms = network(seed), {'hidden0': np.array(order)}
  update = functools.partial(APPLY, random_variables(), loss=2.0, wanted=0.3)
  moved = update(group_lib.permute(perms, start, SPEC))
  same = group_lib.permute(perms, update(start), SPEC)
  assert farthest(moved, same) < 1e-4


def test_a_leaf_moved_alone_is_another_network():
  """The property above is not true of whatever comes."""
  start, perms = network(0), {'hidden0': np.array([1, 0, 2, 3])}
  half = {**start, 'layer0/bias': start['layer0/bias'][[1, 0, 2, 3]]}
  update = functools.partial(APPLY, random_variables(), loss=2.0, wanted=0.3)
  same = group_lib.permute(perms, update(start), SPEC)
  assert farthest(update(half), same) > 1e-2


@pytest.mark.parametrize('path', [leaf.path for leaf in SPEC.leaves])
def test_every_leaf_is_read_and_changed(path):
  start, variables = network(0), random_variables()
  before = APPLY(variables, start, 2.0, 0.3)
  assert not np.allclose(before[path], start[path], atol=1e-3)
  other = {**start, path: start[path] + 1}
  rest = [name for name in start if name != path][0]
  after = APPLY(variables, other, 2.0, 0.3)
  assert not np.allclose(after[rest], before[rest], atol=1e-4)


def test_units_that_start_all_but_alike_become_different():
  start = network(0)
  nudge = 1e-3
  alike = {path: np.zeros_like(value) for path, value in start.items()}
  alike['layer0/bias'] = np.float32(nudge * np.arange(4))
  made = APPLY(random_variables(), alike, 2.0, 0.3)
  kernel = made['layer0/kernel']
  gaps = jnp.abs(kernel[:, :, None] - kernel[:, None]).max(0)
  assert gaps[~np.eye(4, dtype=bool)].min() > 20 * nudge


def test_both_losses_are_read():
  start, variables = network(0), random_variables()
  made = [APPLY(variables, start, *losses) for losses in ((2.0, 0.3), (1.0, 0.3), (2.0, 0.5))]
  assert farthest(made[0], made[1]) > 1e-3
  assert farthest(made[0], made[2]) > 1e-3


def test_networks_with_more_hidden_layers_are_refused():
  with pytest.raises(ValueError, match='one group of hidden units; got 2'):
    prompted.views(mlp.MLP((5, 4, 4, 3)).spec)
  units, pinned = prompted.views(SPEC)
  assert sum(view.folded for view in units) == 5 + 1 + 3
  assert [view.path for view in pinned] == ['layer1/bias']
