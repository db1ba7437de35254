"""A step is the same in every mode; memory and precision are what is asked."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from wsjax.train import sharding, step


class Net(nn.Module):
  """Activations that are wide, between matrix products."""

  @nn.compact
  def __call__(self, x):
    for _ in range(4):
      x = nn.LayerNorm()(nn.gelu(jnp.tanh(nn.Dense(256)(x))))
    return x


NET = Net()
BATCH = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
PARAMS = NET.init(jax.random.key(0), BATCH[0])


def loss(params, batch, key):
  out = jax.vmap(lambda x: NET.apply(params, x))(batch)
  noise = jax.random.normal(key, out.shape)
  return jnp.mean((out - noise.astype(out.dtype)) ** 2), {'size': jnp.mean(out)}


def make(**options):
  mesh = sharding.make_mesh((('data', -1),))
  return jax.jit(step.make_gradient(loss, mesh, batch_size=64, **options))


def close(a, b, **tolerance):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize('microbatch', [0, 16])
def test_shard_map_takes_the_same_step(microbatch):
  key = jax.random.key(1)
  got = make(parallel='shard_map', microbatch=microbatch)(PARAMS, BATCH, key)
  want = make(microbatch=microbatch)(PARAMS, BATCH, key)
  close(got, want, rtol=1e-5, atol=1e-7)


def test_parts_have_noise_of_their_own():
  key = jax.random.key(1)
  (one, _), _ = make()(PARAMS, BATCH, key)
  (parts, _), _ = make(microbatch=16)(PARAMS, BATCH, key)
  by_hand = [
    loss(PARAMS, BATCH[16 * p : 16 * p + 16], jax.random.fold_in(key, p))[0] for p in range(4)
  ]
  assert not np.allclose(one, parts, rtol=1e-5)
  np.testing.assert_allclose(parts, np.mean(by_hand), rtol=1e-5)


def dtypes_of_products(function, *args):
  jaxpr = jax.make_jaxpr(function)(*args)
  text = str(jaxpr)
  return {
    line.split('=')[0].split(':')[1].split('[')[0]
    for line in text.splitlines()
    if '= dot_general' in line
  }


def test_bfloat16_is_inside_and_float32_outside():
  key = jax.random.key(1)
  half = make(compute_dtype='bfloat16')
  assert dtypes_of_products(half, PARAMS, BATCH, key) == {'bf16'}
  assert dtypes_of_products(make(), PARAMS, BATCH, key) == {'f32'}
  (value, metrics), grads = half(PARAMS, BATCH, key)
  (want, _), want_grads = make()(PARAMS, BATCH, key)
  for leaf in jax.tree.leaves((value, metrics, grads)):
    assert leaf.dtype == jnp.float32
  np.testing.assert_allclose(value, want, rtol=1e-2)
  a, b = (
    np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (grads, want_grads)
  )
  assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b)


def bytes_of_step(**options):
  """What a step needs besides its arguments and results."""
  mesh = sharding.make_mesh((('data', -1),))
  gradient = step.make_gradient(loss, mesh, batch_size=64, **options)
  compiled = jax.jit(gradient).lower(PARAMS, BATCH, jax.random.key(1)).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_parts_need_the_memory_of_one():
  assert bytes_of_step(microbatch=8) < 0.5 * bytes_of_step()


def test_what_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="parallel is 'xmap'; allowed: jit"):
    make(parallel='xmap')
  with pytest.raises(ValueError, match="compute_dtype is 'float8'"):
    make(compute_dtype='float8')
  with pytest.raises(ValueError, match='microbatches of 24'):
    make(microbatch=24)


@pytest.mark.parametrize(
  ('parallel', 'microbatch', 'message'),
  [
    ('jit', 2, 'train.microbatch: .* over 4 .*allowed: 4, 8, 16, 32, 64'),
    # Smaller parts would have other noise: nobody chooses them silently.
    ('shard_map', 0, 'train.microbatch: .* over 4 .*allowed: 1, 2, 4, 8, 16'),
    ('pmap', 32, 'train.microbatch: .* over 4 .*allowed: 1, 2, 4, 8, 16'),
  ],
)
def test_devices_never_choose_another_step(parallel, microbatch, message):
  mesh = AbstractMesh((4,), ('data',), (AxisType.Auto,))
  with pytest.raises(ValueError, match=message):
    step.make_gradient(loss, mesh, batch_size=64, parallel=parallel, microbatch=microbatch)
  for size in (int(text) for text in message.partition('allowed: ')[2].split(', ')):
    step.make_gradient(loss, mesh, batch_size=64, parallel=parallel, microbatch=size)
  with pytest.raises(ValueError, match='train.batch_size to a multiple of 4'):
    step.make_gradient(loss, mesh, batch_size=63, parallel=parallel, microbatch=microbatch)
