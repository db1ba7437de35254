"""Thresholds come from the training networks, each without itself."""

import dataclasses

import numpy as np
import pytest

from tests.reference import evaluation as reference
from wsjax import networks as networks_lib
from wsjax.evaluation import baselines


def test_bar_is_that_of_a_slow_loop(zoo_reference):
  context = zoo_reference
  errors = context.train_errors
  slow = [
    max(reference.error_iou(errors[i], errors[j]) for j in range(len(errors)) if j != i)
    for i in range(len(errors))
  ]
  assert context.thresholds.max_iou == pytest.approx(np.mean(slow))
  assert context.thresholds.accuracy == pytest.approx(np.percentile(1 - errors.mean(axis=1), 5))


def test_tau_is_no_larger_than_raw_distances(zoo_reference):
  vectors = networks_lib.flatten(zoo_reference.train)
  raw = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
  np.fill_diagonal(raw, np.inf)
  assert np.all(zoo_reference.train_distance <= raw.min(axis=1) + 1e-3)
  assert zoo_reference.thresholds.tau == np.median(zoo_reference.train_distance)


def test_held_out_networks_set_no_threshold(zoo_reference):
  other = dataclasses.replace(zoo_reference, heldout=None)
  assert other.thresholds == zoo_reference.thresholds


@pytest.mark.parametrize(
  'change, message',
  [
    ({'mode': 'everything'}, 'mode'),
    ({'mode': 'none'}, 'must align'),
    ({'reference': {}}, 'lack'),
    ({'train': {'layer0/kernel': np.zeros((2, 3))}}, 'lack'),
  ],
)
def test_a_wrong_context_is_refused(zoo_reference, change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(zoo_reference, **change)


def test_one_network_is_no_zoo(zoo_reference):
  one = networks_lib.take(zoo_reference.train, np.array([0]))
  with pytest.raises(ValueError, match='no spread'):
    dataclasses.replace(zoo_reference, train=one)


def test_a_copy_of_a_snapshot_is_a_copy_and_moves_no_yardstick(zoo_reference):
  rng = np.random.default_rng(0)
  before = {
    path: value[:4] + rng.normal(0, 0.2, value[:4].shape).astype(np.float32)
    for path, value in zoo_reference.train.items()
  }
  told = dataclasses.replace(zoo_reference, snapshots=before)
  assert told.thresholds == zoo_reference.thresholds
  known, which = told.shown.nearest(before)
  unknown, _ = told.neighbours.nearest(before)
  np.testing.assert_allclose(known, 0, atol=1e-4)
  assert np.all(unknown > 0.1)
  np.testing.assert_array_equal(which, zoo_reference.num_train + np.arange(4))


def test_checkpoints_of_one_run_are_measured_by_independent_runs(zoo_reference):
  rng = np.random.default_rng(0)
  one = {
    path: value[:1] + rng.normal(0, 1e-3, (8, *value.shape[1:]))
    for path, value in zoo_reference.train.items()
  }
  one = {path: value.astype(np.float32) for path, value in one.items()}
  changes = {'train': one, 'independent': False}
  told = dataclasses.replace(zoo_reference, heldout=zoo_reference.train, **changes)
  assert told.thresholds == zoo_reference.thresholds and told.num_runs == 1
  # Not by each other, or every copy with a little noise would be new.
  assert np.median(told.train_distance) < 0.05 * told.thresholds.tau
  with pytest.raises(ValueError, match='how runs differ'):
    dataclasses.replace(zoo_reference, heldout=None, **changes).thresholds  # noqa: B018


def test_a_zoo_of_disguised_copies_has_no_scale(zoo_reference):
  one = {path: np.repeat(value[:1], 8, axis=0) for path, value in zoo_reference.train.items()}
  copies = baselines.move(one, zoo_reference.architecture.spec, seed=0)
  copies = {path: np.asarray(value) for path, value in copies.items()}
  with pytest.raises(ValueError, match='tau'):
    dataclasses.replace(zoo_reference, train=copies).thresholds  # noqa: B018
  assert zoo_reference.thresholds.tau > 0.1 * zoo_reference.thresholds.norm
