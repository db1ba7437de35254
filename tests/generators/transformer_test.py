"""Blocks that are computed again change memory, not numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generators.backbones import transformer

X = np.random.default_rng(0).standard_normal((4, 16, 8)).astype(np.float32)
TIME = jnp.float32(0.3)


def loss_of(net):
  def loss(params, key):
    def one(x, key):
      return net.apply(params, x, TIME, train=True, rngs={'dropout': key})

    return jnp.mean(jax.vmap(one)(X, jax.random.split(key, len(X))) ** 2)

  return loss


@pytest.mark.slow
def test_blocks_that_are_computed_again_keep_little_and_change_nothing():
  values, gradients, kept = [], [], []
  for remat in (False, True):
    net = transformer.Transformer(width=32, depth=4, dropout=0.1, remat=remat)
    params = net.init(jax.random.key(0), X[0], TIME)
    params = jax.tree.map(lambda leaf: leaf + 0.05, params)  # No zero output.
    loss, key = loss_of(net), jax.random.key(1)
    value, gradient = jax.jit(jax.value_and_grad(loss))(params, key)
    _, way_back = jax.eval_shape(lambda p, f=loss, k=key: jax.vjp(lambda p: f(p, k), p), params)
    values.append(value)
    gradients.append(gradient)
    # What the way forth leaves to the way back.
    kept.append(sum(leaf.size for leaf in jax.tree.leaves(way_back)))
  np.testing.assert_allclose(values[1], values[0], rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *gradients)
  assert kept[1] < 0.5 * kept[0]


def test_heads_must_divide_the_width():
  with pytest.raises(ValueError, match='30 does not divide into 4 heads'):
    transformer.Transformer(width=30)
