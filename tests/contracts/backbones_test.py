"""Every backbone: one example in, its shape out, and everything is read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import config

# 15 weights, as many as the tokens of the other backbones have numbers.
ARCHITECTURE = {'name': 'mlp', 'widths': (2, 2, 3), 'activation': 'relu'}
SMALL = {
  'mlp': {'width': 16, 'depth': 2},
  'deep_weight_flow': {'width': 16, 'time_features': 8},
  'transformer': {'width': 16, 'depth': 2, 'num_heads': 2},
  'graph_transformer': {
    'architecture': ARCHITECTURE,
    'width': 16,
    'edge_width': 8,
    'depth': 1,
    'num_heads': 2,
  },
  'neural_functional': {'architecture': ARCHITECTURE, 'width': 16, 'depth': 1},
}
NAMES = config.plugins('generators.backbones')
X = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
CONDITION = np.ones(2, np.float32)


def example(name):
  """[T, D]: tokens of the kind that a backbone is for."""
  return X.reshape(1, -1) if 'architecture' in SMALL.get(name, {}) else X


@functools.cache
def built(name, **options):
  """The module, and parameters that are nowhere zero."""
  section = {'name': name, **SMALL.get(name, {}), **options}
  module = config.build('generators.backbones', section)
  x = example(name)
  params = module.init(jax.random.key(0), x, jnp.float32(0), CONDITION)
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [
    leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)
  ]
  return module, jax.tree.unflatten(tree, leaves), params


@pytest.mark.parametrize('name', NAMES)
def test_the_output_has_the_shape_of_the_input_and_starts_at_zero(name):
  module, _, fresh = built(name)
  x = example(name)
  out = module.apply(fresh, x, jnp.float32(0.3), CONDITION)
  assert out.shape == x.shape and out.dtype == jnp.float32
  np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize('name', NAMES)
def test_every_input_matters_for_every_output(name):
  module, params, _ = built(name)

  def out(x, t, condition):
    return module.apply(params, x, t, condition)

  jacobians = jax.jit(jax.jacrev(out, (0, 1, 2)))(example(name), jnp.float32(0.3), CONDITION)
  for jacobian in jacobians:
    assert np.all(np.isfinite(jacobian))
    assert np.mean(np.asarray(jacobian) != 0) > 0.9


@pytest.mark.parametrize('name', NAMES)
def test_a_batch_is_a_vmap(name):
  module, params, _ = built(name)
  batch = np.stack([example(name), 2 * example(name)])
  times = jnp.asarray([0.1, 0.7])
  one = functools.partial(module.apply, params)
  outs = jax.vmap(lambda x, t: one(x, t, CONDITION))(batch, times)
  want = jnp.stack([one(x, t, CONDITION) for x, t in zip(batch, times, strict=True)])
  np.testing.assert_allclose(outs, want, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_dropout_acts_while_training_only(name):
  module, params, _ = built(name, dropout=0.5)

  def out(key, train):
    rngs = {'dropout': jax.random.key(key)}
    t = jnp.float32(0.3)
    return module.apply(params, example(name), t, CONDITION, train=train, rngs=rngs)

  assert not np.array_equal(out(0, True), out(1, True))
  np.testing.assert_array_equal(out(0, False), out(1, False))


def test_heads_that_do_not_divide_the_width_are_refused():
  section = {'name': 'transformer', 'width': 10, 'num_heads': 4}
  with pytest.raises(ValueError, match='does not divide into 4 heads'):
    config.build('generators.backbones', section)
