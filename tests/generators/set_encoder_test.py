"""A set has no order and no padding, and every example of it counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generators.parts import task_network

POOLS = task_network.POOLS
EXAMPLES = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


@functools.cache
def encode(pool):
  module = task_network.SetEncoder(3, width=16, depth=1, pool=pool)
  variables = jax.jit(module.init)(jax.random.key(0), EXAMPLES)
  return functools.partial(jax.jit(module.apply), variables)


@pytest.mark.parametrize('pool', POOLS)
def test_the_order_of_examples_does_not_matter(pool):
  vector = encode(pool)(EXAMPLES)
  assert vector.shape == (3,)
  for seed in range(4):
    order = np.random.default_rng(seed).permutation(7)
    moved = encode(pool)(EXAMPLES[order])
    np.testing.assert_allclose(moved, vector, atol=1e-5)
  # Twice every example is no other distribution.
  twice = encode(pool)(np.concatenate([EXAMPLES, EXAMPLES]))
  np.testing.assert_allclose(twice, vector, atol=1e-5)


@pytest.mark.parametrize('pool', POOLS)
def test_what_is_masked_is_not_there(pool):
  for padding in (0.0, 1e9, np.inf, np.nan):
    padded = np.append(EXAMPLES, np.full((2, 5), padding, np.float32), axis=0)
    mask = jnp.arange(9) < 7
    np.testing.assert_allclose(encode(pool)(padded, mask), encode(pool)(EXAMPLES), atol=1e-5)


@pytest.mark.parametrize('pool', POOLS)
def test_every_number_of_every_example_is_read(pool):
  jacobian = np.asarray(jax.jit(jax.jacrev(encode(pool)))(EXAMPLES))
  assert np.all(np.isfinite(jacobian)) and np.all(jacobian != 0)


def test_attention_weighs_examples_and_the_mean_does_not():
  """What one example adds depends on the others only with attention."""

  def added(pool, others):
    module = task_network.SetEncoder(3, width=16, depth=0, pool=pool)
    variables = jax.jit(module.init)(jax.random.key(0), EXAMPLES)
    pooled = module.apply(variables, others, capture_intermediates=True)[1]['intermediates'][
      'wide'
    ]['__call__'][0]
    return np.asarray(pooled)

  others = EXAMPLES.copy()
  others[0] += 1
  further = EXAMPLES.copy()
  further[0] += 2
  one, two, three = ({pool: added(pool, x) for pool in POOLS} for x in (EXAMPLES, others, further))
  line = 2 * two['mean'] - one['mean']
  np.testing.assert_allclose(line, three['mean'], atol=1e-5)
  bent = 2 * two['attention'] - one['attention'] - three['attention']
  assert np.abs(bent).max() > 1e-2


def test_an_unknown_pool_is_refused():
  with pytest.raises(ValueError, match='pool'):
    task_network.SetEncoder(3, pool='max')
