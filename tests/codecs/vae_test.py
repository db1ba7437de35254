"""The variational autoencoder starts at its linear optimum and learns more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import codecs
from wsjax.codecs import pca, vae


def straight(num, seed=0):
  """[num, 3, 4] tokens along 3 directions, and noise of deviation 0.1."""
  rng = np.random.default_rng(seed)
  basis = np.random.default_rng(9).standard_normal((3, 12))
  x = 1 + rng.standard_normal((num, 3)) @ basis
  x += 0.1 * rng.standard_normal(x.shape)
  return x.reshape(num, 3, 4).astype(np.float32)


def bent(num, seed=0):
  """[num, 3, 4] tokens on a curve that no plane holds."""
  rng = np.random.default_rng(seed)
  angle = rng.uniform(-np.pi, np.pi, (num, 1))
  x = np.sin(angle * np.arange(1, 4)) @ np.random.default_rng(9).standard_normal((3, 12))
  return x.reshape(num, 3, 4).astype(np.float32)


@pytest.mark.slow
def test_without_steps_it_is_probabilistic_pca():
  x = straight(200)
  codec = vae.VAE(rank=3, kl_weight=0.02, width=8, steps=0)
  state = codec.fit(x)
  noise, flat = 0.01, x.reshape(200, -1).astype(np.float64)
  mean = flat.mean(0)
  values, vectors = np.linalg.eigh(np.cov(flat.T))
  values, vectors = values[::-1][:3], vectors[:, ::-1][:, :3]
  # Tipping and Bishop, equations 7 and 6, with sigma^2 = noise.
  loading = vectors * np.sqrt(values - noise)
  inner = loading.T @ loading + noise * np.eye(3)
  want = (flat - mean) @ loading @ np.linalg.inv(inner)
  got = np.asarray(codec.encode(state, x))[:, 0]
  np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-3)
  np.testing.assert_allclose(np.exp(state.log_variance), noise / np.diag(inner), rtol=1e-3)
  back = np.asarray(codec.decode(state, codec.encode(state, x)))
  np.testing.assert_allclose(back.reshape(200, -1), mean + want @ loading.T, atol=1e-3)


def test_the_start_is_the_best_linear_autoencoder():
  x = jnp.asarray(straight(400))
  codec = vae.VAE(rank=3, kl_weight=0.02, width=8, steps=0)
  state = codec.fit(np.asarray(x))
  keys = jax.random.split(jax.random.key(0), 30)

  @jax.jit
  def loss(state):
    return jnp.mean(jax.lax.map(lambda key: codec._loss(state, x, key), keys))

  best = loss(state)
  for factor in (0.97, 1.03):
    assert loss(state.replace(gain=factor * state.gain)) > best
  for shift in (-0.3, 0.3):
    moved = state.replace(log_variance=state.log_variance + shift)
    assert loss(moved) > best


def test_directions_below_the_noise_are_not_used():
  x = straight(200)
  state = vae.VAE(rank=5, kl_weight=0.2, width=8, steps=0).fit(x)
  np.testing.assert_array_equal(np.asarray(state.gain) > 0, [1, 1, 1, 0, 0])
  np.testing.assert_array_equal(state.log_variance[3:], 0)


@pytest.mark.slow
def test_training_beats_principal_components_where_networks_are_bent():
  x, unseen = bent(256), bent(256, seed=1)
  codec = vae.VAE(rank=2, kl_weight=1e-3, width=64, learning_rate=3e-3)
  state = codec.fit(x)
  plain = pca.PCA(rank=2)
  other = codecs.reconstruction_error(plain, plain.fit(x), unseen).mean()
  assert codecs.reconstruction_error(codec, state, unseen).mean() < 0.5 * other
  again = codec.fit(x)
  jax.tree.map(np.testing.assert_array_equal, state, again)


@pytest.mark.slow
def test_more_weight_on_the_divergence_costs_reconstruction():
  x = straight(100)
  errors = []
  for kl_weight in (0.001, 0.1, 10.0):
    codec = vae.VAE(rank=3, kl_weight=kl_weight, width=8, steps=0)
    errors.append(codecs.reconstruction_error(codec, codec.fit(x), x).mean())
  assert errors == sorted(errors) and errors[2] > 2 * errors[0]


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='kl_weight'):
    vae.VAE(rank=2, kl_weight=0.0)
  with pytest.raises(ValueError, match='rank'):
    vae.VAE(rank=0)
  with pytest.raises(ValueError, match='at most 4 directions'):
    vae.VAE(rank=5).fit(straight(5))
