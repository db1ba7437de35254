"""Null models have the moments that their names promise."""

import numpy as np
import pytest

from wsjax.evaluation import baselines


def test_mixtures_are_means_of_different_networks():
  weights = baselines.mixture(np.random.default_rng(0), 50, 20, 4)
  assert weights.shape == (50, 20)
  assert np.all(np.sum(weights == 0.25, axis=1) == 4)
  assert np.all(np.sum(weights != 0, axis=1) == 4)


def test_interpolation_is_uniform_between_two():
  weights = baselines.interpolation(np.random.default_rng(0), 4000, 5)
  np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
  assert np.all(np.sum(weights > 0, axis=1) <= 2)
  near = np.mean(weights.max(axis=1) > 0.9)
  assert near == pytest.approx(0.2, abs=0.03)


def test_noise_has_its_size():
  zoo = np.random.default_rng(1).standard_normal((3, 4000)).astype(np.float32)
  samples = baselines.noisy(np.random.default_rng(0), zoo, 6, 0.05)
  gap = np.min(
    np.linalg.norm(samples[:, None] - zoo[None], axis=-1), axis=1
  ) / np.sqrt(4000)  # fmt: skip
  np.testing.assert_allclose(gap, 0.05, rtol=0.05)


def test_gaussians_have_the_moments_of_the_zoo():
  rng = np.random.default_rng(0)
  mix = rng.standard_normal((6, 6))
  zoo = (rng.standard_normal((30, 6)) @ mix + 2).astype(np.float32)
  covariance = np.cov(zoo.T)
  full = baselines.pca_gaussian(np.random.default_rng(1), zoo, 40_000, 6)
  np.testing.assert_allclose(np.cov(full.T), covariance, atol=0.05 * np.trace(covariance))
  diagonal = baselines.gaussian(np.random.default_rng(1), zoo, 40_000)
  np.testing.assert_allclose(
    np.cov(diagonal.T), np.diag(np.diag(covariance)), atol=0.05 * np.trace(covariance)
  )
  for samples in (full, diagonal):
    np.testing.assert_allclose(samples.mean(0), zoo.mean(0), atol=0.1)


def test_low_rank_samples_lie_in_the_affine_hull():
  zoo = np.random.default_rng(0).standard_normal((5, 30)).astype(np.float32)
  samples = baselines.pca_gaussian(np.random.default_rng(1), zoo, 7, 4)
  basis = np.linalg.svd(zoo - zoo.mean(0, keepdims=True))[2][:4]
  rest = samples - zoo.mean(0, keepdims=True)
  rest = rest - rest @ basis.T @ basis
  assert np.max(np.abs(rest)) < 1e-5
