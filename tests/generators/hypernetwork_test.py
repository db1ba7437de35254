"""The hypernetwork: a distribution in one pass, a regression without noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import marks
from wsjax.generators import hypernetwork

SHAPE = (2, 3)


def trained(generator, batch, condition=None, steps=400):
  """Parameters after some steps on one batch."""
  params = jax.jit(generator.init)(jax.random.key(0), jnp.asarray(batch[0]))
  tx = optax.adam(1e-2)

  def step(carry, key):
    params, state = carry
    grads, _ = jax.grad(generator.loss, has_aux=True)(params, batch, key, condition)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), None

  keys = jax.random.split(jax.random.key(1), steps)
  run = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))
  return run((params, tx.init(params)))[0][0]


def test_the_energy_score_is_that_of_the_obvious_sum():
  generator = hypernetwork.Hypernetwork(width=8, depth=1, noise_size=2, draws=3)
  batch = np.random.default_rng(0).standard_normal((4, *SHAPE))
  batch = batch.astype(np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), batch[0])
  got, metrics = jax.jit(generator.loss)(params, batch, jax.random.key(1))
  made = [
    np.asarray(generator.sample(params, key, 4, shape=SHAPE))
    for key in jax.random.split(jax.random.key(1), 3)
  ]

  def size(x):
    return np.sqrt(np.mean(np.asarray(x, float) ** 2))

  to_data = np.mean([size(draw[i] - batch[i]) for draw in made for i in range(4)])
  to_samples = np.mean(
    [size(a[i] - b[i]) for a, b in itertools.combinations(made, 2) for i in range(4)]
  )
  assert float(got) == pytest.approx(to_data - to_samples / 2, abs=1e-4)
  assert float(metrics['to_data']) == pytest.approx(to_data, abs=1e-4)

  both = hypernetwork.Hypernetwork(width=8, depth=1, noise_size=2, draws=3, single=2.0)
  got_both, _ = jax.jit(both.loss)(params, batch, jax.random.key(1))
  single = np.mean([np.abs(draw - batch) for draw in made]) - np.mean(
    [np.abs(a - b) / 2 for a, b in itertools.combinations(made, 2)]
  )
  assert float(got_both - got) == pytest.approx(2 * single, abs=1e-4)


@pytest.mark.parametrize('network', marks.slow(hypernetwork.NETWORKS, 'transformer'))
def test_without_noise_it_learns_a_function_of_the_condition(network):
  generator = hypernetwork.Hypernetwork(
    network, width=16, depth=1, num_heads=2, noise_size=0, condition_size=2
  )
  condition = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
  batch = np.random.default_rng(0).standard_normal((4, *SHAPE))
  batch = batch.astype(np.float32)
  params = trained(generator, batch, condition)
  made = generator.sample(params, jax.random.key(9), 4, shape=SHAPE, condition=condition)
  np.testing.assert_allclose(made, batch, atol=0.1)


@pytest.mark.slow
def test_with_noise_and_condition_it_learns_each_conditional_spread():
  generator = hypernetwork.Hypernetwork(width=32, depth=1, noise_size=4, condition_size=1)
  rng = np.random.default_rng(0)
  condition = np.repeat(np.asarray([[-1.0], [1.0]], np.float32), 128, axis=0)
  # Around -2 with deviation 0.2, or around +2 with deviation 1.
  std = np.where(condition < 0, 0.2, 1.0)[..., None]
  batch = 2 * condition[..., None] + std * rng.standard_normal((256, *SHAPE))
  params = trained(generator, batch.astype(np.float32), condition)
  made = np.asarray(
    generator.sample(params, jax.random.key(2), 256, shape=SHAPE, condition=condition)
  )
  np.testing.assert_allclose(made[:128].mean(), -2, atol=0.2)
  np.testing.assert_allclose(made[128:].mean(), 2, atol=0.2)
  assert 0.1 < made[:128].std(0).mean() < 0.4
  assert 0.7 < made[128:].std(0).mean() < 1.3


@pytest.mark.slow
def test_own_noise_finds_which_latents_vary_each_for_itself():
  generator = hypernetwork.Hypernetwork(
    width=16, depth=1, noise_size=2, latent_noise=True, single=1.0
  )
  # 40 latents that vary freely, which two coordinates of noise cannot make, and 40 that hardly
  # vary.
  std = np.repeat([1.0, 0.1], 40)[:, None]
  batch = std * np.random.default_rng(0).standard_normal((256, 80, 1))
  params = trained(generator, batch.astype(np.float32), steps=600)
  made = generator.sample(params, jax.random.key(2), 512, shape=(80, 1))
  got = np.asarray(made)[..., 0]
  np.testing.assert_allclose(got[:, :40].std(0), 1, atol=0.2)
  assert got[:, 40:].std(0).max() < 0.3
  related = np.corrcoef(got[:, :40].T) - np.eye(40)
  assert np.abs(related).mean() < 0.15


def test_options_that_mean_nothing_are_refused():
  with pytest.raises(ValueError, match='noise_size and condition_size'):
    hypernetwork.Hypernetwork(noise_size=0)
  with pytest.raises(ValueError, match='draws is 1'):
    hypernetwork.Hypernetwork(draws=1)
  with pytest.raises(ValueError, match='network'):
    hypernetwork.Hypernetwork('lstm')
  with pytest.raises(ValueError, match='single is -1'):
    hypernetwork.Hypernetwork(single=-1)
  with pytest.raises(ValueError, match='latent_noise'):
    hypernetwork.Hypernetwork('chunks', latent_noise=True)
  with pytest.raises(ValueError, match='noise_size > 0'):
    hypernetwork.Hypernetwork(noise_size=0, condition_size=1, latent_noise=True)
  with pytest.raises(ValueError, match='into 3 heads'):
    hypernetwork.Hypernetwork('transformer', width=16, num_heads=3)


def test_a_network_in_parts_is_the_network():
  generator = hypernetwork.Hypernetwork('chunks', width=16, depth=1, noise_size=3)
  params = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((7, 5)))
  key = jax.random.key(1)
  whole = generator.sample(params, key, 1, shape=(7, 5))[0]
  parts = list(generator.stream(params, key, shape=(7, 5), rows=3))
  assert [len(part) for part in parts] == [3, 3, 1]
  np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
  assert np.std(np.asarray(whole), axis=0).min() > 0  # Tokens differ.


def test_a_network_whose_tokens_need_each_other_has_no_parts():
  generator = hypernetwork.Hypernetwork('mlp', width=8, depth=1, noise_size=3)
  params = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((7, 5)))
  with pytest.raises(ValueError, match="needs network 'chunks'"):
    next(generator.stream(params, jax.random.key(1), shape=(7, 5), rows=3))
