"""The mixture has scikit-learn's density, and samples follow it."""

import jax
import numpy as np
import pytest
from sklearn import mixture

from wsjax.generators import gaussian_mixture

KEY = jax.random.key(0)


def latents(num, seed=0):
  """Three clusters in [num, 2, 2], of unequal size and shape."""
  return clusters(num, seed)[0]


def clusters(num, seed=0):
  """`latents`, and which cluster each is of."""
  rng = np.random.default_rng(seed)
  which = rng.choice(3, num, p=[0.5, 0.3, 0.2])
  centre = 6 * np.eye(4)[which]
  noise = rng.standard_normal((num, 4)) @ np.tril(np.ones((4, 4)))
  x = centre + (0.2 + 0.3 * which[:, None]) * noise
  return x.reshape(num, 2, 2).astype(np.float32), which


@pytest.mark.parametrize('covariance', gaussian_mixture.COVARIANCES)
def test_the_density_is_that_of_scikit_learn(covariance):
  x, at = latents(300), latents(20, seed=1)
  model = gaussian_mixture.GaussianMixture(3, covariance, floor=1e-3)
  got = model.log_prob(model.fit(x, KEY), at)
  reference = mixture.GaussianMixture(
    3, covariance_type=covariance, reg_covar=1e-3, random_state=int(jax.random.bits(KEY))
  ).fit(x.reshape(300, -1).astype(np.float64))
  want = reference.score_samples(at.reshape(20, -1))
  np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('covariance', gaussian_mixture.COVARIANCES)
def test_samples_have_the_moments_of_the_mixture(covariance):
  x = latents(300)
  model = gaussian_mixture.GaussianMixture(3, covariance, floor=1e-3)
  drawn = model.sample(model.fit(x, KEY), KEY, 20_000, shape=(2, 2))
  drawn, flat = np.asarray(drawn).reshape(-1, 4), x.reshape(300, -1)
  np.testing.assert_allclose(drawn.mean(0), flat.mean(0), atol=0.1)
  # Maximum likelihood matches the covariance, or its diagonal.
  got, want = np.cov(drawn.T), np.cov(flat.T, ddof=0)
  if covariance == 'diag':
    got, want = np.diag(got), np.diag(want)
  np.testing.assert_allclose(got, want, atol=0.25)


def test_clusters_are_found():
  x, which = clusters(300)
  fitted = gaussian_mixture.GaussianMixture(3).fit(x, KEY)
  shares = np.sort(np.bincount(which)) / 300
  np.testing.assert_allclose(np.sort(np.exp(fitted.log_weights)), shares, atol=0.01)


def test_a_floor_lets_it_fit_what_networks_do_not_span():
  x = latents(4)
  model = gaussian_mixture.GaussianMixture(1, floor=1e-2)
  fitted = model.fit(x, KEY)
  assert np.all(np.isfinite(model.log_prob(fitted, x)))


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='covariance'):
    gaussian_mixture.GaussianMixture(covariance='tied')
  with pytest.raises(ValueError, match='num_components'):
    gaussian_mixture.GaussianMixture(num_components=0)
  with pytest.raises(ValueError, match='fewer than 8 components'):
    gaussian_mixture.GaussianMixture(8).fit(latents(5), KEY)
