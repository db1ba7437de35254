"""Baselines are what their names say."""

import dataclasses

import numpy as np
import pytest

from wsjax.evaluate import arms, baselines

NAMES = {
  'noise(0.01)', 'noise(0.02)', 'noise(0.05)', 'noise(0.1)',
  'interpolation raw', 'interpolation aligned',
  'soup-2 raw', 'soup-2 aligned', 'soup-4 raw', 'soup-4 aligned',
  'soup-16 raw', 'soup-16 aligned', 'gaussian', 'pca-gaussian', 'retrieval',
  'permuted copy', 'random init', 'fresh runs', 'finetune-20',
}  # fmt: skip


def test_panel_is_complete(panel, zoo_context):
  assert set(panel) == NAMES
  for arm in panel.values():
    assert arm.num_nets == 24 and arm.seconds > 0, arm.name
    zoo_context.architecture.spec.check(arm.params, stacked=True)
  kinds = {name: arm.kind for name, arm in panel.items()}
  assert kinds['permuted copy'] == kinds['random init'] == 'control'
  assert kinds['fresh runs'] == 'ceiling'


def test_panel_repeats_with_its_seed(panel, zoo_context):
  context = dataclasses.replace(zoo_context, finetune=None, heldout=None)
  context.__dict__['aligned_train'] = zoo_context.aligned_train
  again = baselines.panel(context, num_samples=24, seed=0)
  assert {arm.name for arm in again} == NAMES - {'fresh runs', 'finetune-20'}
  for arm in again:
    np.testing.assert_array_equal(
      arms.flatten(arm.params), arms.flatten(panel[arm.name].params)
    )
  other = baselines.panel(context, num_samples=24, seed=1)
  assert not np.array_equal(
    arms.flatten(other[0].params), arms.flatten(panel['noise(0.01)'].params)
  )


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
  samples = baselines.noise(np.random.default_rng(0), zoo, 6, 0.05)
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
  np.testing.assert_allclose(
    np.cov(full.T), covariance, atol=0.05 * np.trace(covariance)
  )
  diagonal = baselines.gaussian(np.random.default_rng(1), zoo, 40_000)
  np.testing.assert_allclose(
    np.cov(diagonal.T),
    np.diag(np.diag(covariance)),
    atol=0.05 * np.trace(covariance),
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


def test_permuted_copies_compute_what_training_networks_do(panel, zoo_context):
  context = zoo_context
  moved = context.predict(panel['permuted copy'].params)
  nll = context.train_predictions.nll
  gap = np.abs(moved.nll[:, None] - nll[None]).max(axis=2).min(axis=1)
  assert np.all(gap < 1e-3)
  raw = arms.flatten(panel['permuted copy'].params)[:, None]
  raw = np.linalg.norm(raw - arms.flatten(context.train)[None], axis=-1)
  assert np.all(raw.min(axis=1) > 0.5 * context.bar.tau)


def test_no_samples_are_refused(zoo_context):
  with pytest.raises(ValueError, match='num_samples'):
    baselines.panel(zoo_context, num_samples=0, seed=0)
