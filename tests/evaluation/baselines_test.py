"""Baselines are what their names say."""

import dataclasses

import numpy as np
import pytest

from wsjax import networks
from wsjax.evaluation import baselines

NAMES = {
  'noise(0.01)', 'noise(0.02)', 'noise(0.05)', 'noise(0.1)',
  'interpolation raw', 'interpolation aligned',
  'soup-2 raw', 'soup-2 aligned', 'soup-4 raw', 'soup-4 aligned',
  'soup-16 raw', 'soup-16 aligned', 'gaussian', 'pca-gaussian', 'retrieval',
  'permuted copy', 'random init', 'fresh runs', 'finetune-20',
}  # fmt: skip


def test_panel_is_complete(panel, zoo_reference):
  assert set(panel) == NAMES
  for method in panel.values():
    assert method.num_networks == 24 and method.seconds > 0, method.name
    zoo_reference.architecture.spec.check(method.params, stacked=True)
  kinds = {name: method.kind for name, method in panel.items()}
  assert kinds['permuted copy'] == kinds['random init'] == 'control'
  assert kinds['fresh runs'] == 'ceiling'


def test_panel_repeats_with_its_seed(panel, zoo_reference):
  context = dataclasses.replace(zoo_reference, finetune=None, heldout=None)
  context.__dict__['aligned_train'] = zoo_reference.aligned_train
  again = baselines.panel(context, num_samples=24, seed=0)
  assert {method.name for method in again} == NAMES - {'fresh runs', 'finetune-20'}
  for method in again:
    np.testing.assert_array_equal(
      networks.flatten(method.params), networks.flatten(panel[method.name].params)
    )


def test_another_seed_draws_others(zoo_reference):
  zoo = networks.flatten(zoo_reference.train)
  one, other = (baselines.noisy(np.random.default_rng([seed, 0]), zoo, 4, 0.1) for seed in (0, 1))
  assert not np.array_equal(one, other)


def test_permuted_copies_compute_what_training_networks_do(panel, zoo_reference):
  context = zoo_reference
  moved = context.predict(panel['permuted copy'].params)
  nll = context.train_predictions.nll
  gap = np.abs(moved.nll[:, None] - nll[None]).max(axis=2).min(axis=1)
  assert np.all(gap < 1e-3)
  raw = networks.flatten(panel['permuted copy'].params)[:, None]
  raw = np.linalg.norm(raw - networks.flatten(context.train)[None], axis=-1)
  assert np.all(raw.min(axis=1) > 0.5 * context.thresholds.tau)


def test_no_samples_are_refused(zoo_reference):
  with pytest.raises(ValueError, match='num_samples'):
    baselines.panel(zoo_reference, num_samples=0, seed=0)
