"""Steps of a denoiser are those of the paper, and sample a known Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.generators.parts import denoising, ode

MEAN, STD = 1.5, 0.5
LEVELS = np.geomspace(20, 0.01, 200).astype(np.float32)


def denoise(x, sigma):
  """Expected value of N(MEAN, STD^2) given itself plus noise."""
  return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


@pytest.mark.parametrize('eta', [0.0, 0.4, 1.0])
def test_steps_are_those_of_the_paper(eta):
  alphas = np.asarray([0.1, 0.4, 0.9])  # Cumulated, as in the paper.
  levels = np.sqrt((1 - alphas) / alphas)
  key = jax.random.key(1)
  keys = jax.random.split(key, 2)
  x = np.asarray([2.0, -3.0], np.float32)
  got = denoising.along(denoise, x, levels.astype(np.float32), eta=eta, key=key)
  scaled = x * np.sqrt(alphas[0])
  for i in range(2):
    now, then = alphas[i], alphas[i + 1]
    clean = denoise(scaled / np.sqrt(now), levels[i])
    noise = (scaled - np.sqrt(now) * clean) / np.sqrt(1 - now)
    sigma = eta * np.sqrt((1 - then) / (1 - now)) * np.sqrt(1 - now / then)
    scaled = (
      np.sqrt(then) * clean
      + np.sqrt(1 - then - sigma**2) * noise
      + sigma * np.asarray(jax.random.normal(keys[i], (2,)))
    )
  np.testing.assert_allclose(got, scaled / np.sqrt(alphas[2]), rtol=1e-5)


@pytest.mark.parametrize('name', denoising.ETAS)
def test_samples_of_a_gaussian_have_its_moments(name):
  start_key, key = jax.random.split(jax.random.key(0))
  spread = np.hypot(LEVELS[0], STD)
  x = MEAN + spread * jax.random.normal(start_key, (20_000,))
  x = denoising.along(denoise, x, LEVELS, eta=denoising.ETAS[name], key=key)
  # Four standard errors, and 1 % for the steps in the deviation.
  error = 4 * STD / np.sqrt(len(x))
  assert abs(float(jnp.mean(x)) - MEAN) < error
  assert abs(float(jnp.std(x)) - STD) < error + STD / 100


def test_without_new_noise_it_is_euler():
  x = jnp.asarray([3.0, -7.0])
  levels = LEVELS[::20]
  one = denoising.along(denoise, x, levels, eta=0.0, key=jax.random.key(0))
  two = ode.along(lambda x, sigma: (x - denoise(x, sigma)) / sigma, x, levels, solver='euler')
  np.testing.assert_allclose(one, two, rtol=1e-5)


def test_new_noise_is_new_and_from_the_key():
  x = jnp.ones(3)
  one, again, other = (
    denoising.along(denoise, x, LEVELS[:5], eta=1.0, key=jax.random.key(k)) for k in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, again)
  assert np.all(np.asarray(one != other))
