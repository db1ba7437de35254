"""Thresholds come from the training networks, each without itself."""

import dataclasses

import numpy as np
import pytest

from tests.reference import evaluation as reference
from wsjax.evaluation import methods


def test_bar_is_that_of_a_slow_loop(zoo_context):
  context = zoo_context
  errors = context.train_errors
  slow = [
    max(reference.error_iou(errors[i], errors[j]) for j in range(len(errors)) if j != i)
    for i in range(len(errors))
  ]
  assert context.bar.max_iou == pytest.approx(np.mean(slow))
  assert context.bar.accuracy == pytest.approx(np.percentile(1 - errors.mean(axis=1), 5))


def test_tau_is_no_larger_than_raw_distances(zoo_context):
  vectors = methods.flatten(zoo_context.train)
  raw = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
  np.fill_diagonal(raw, np.inf)
  assert np.all(zoo_context.train_distance <= raw.min(axis=1) + 1e-3)
  assert zoo_context.bar.tau == np.median(zoo_context.train_distance)


def test_held_out_networks_set_no_threshold(zoo_context):
  other = dataclasses.replace(zoo_context, heldout=None)
  assert other.bar == zoo_context.bar


@pytest.mark.parametrize(
  'change, message',
  [
    ({'mode': 'everything'}, 'mode'),
    ({'mode': 'none'}, 'must be'),
    ({'reference': {}}, 'lack'),
    ({'train': {'layer0/kernel': np.zeros((2, 3))}}, 'lack'),
  ],
)
def test_a_wrong_context_is_refused(zoo_context, change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(zoo_context, **change)


def test_one_network_is_no_zoo(zoo_context):
  one = methods.take(zoo_context.train, np.array([0]))
  with pytest.raises(ValueError, match='no spread'):
    dataclasses.replace(zoo_context, train=one)


def test_a_copy_of_a_snapshot_is_a_copy_and_moves_no_yardstick(zoo_context):
  rng = np.random.default_rng(0)
  before = {
    path: value[:4] + rng.normal(0, 0.2, value[:4].shape).astype(np.float32)
    for path, value in zoo_context.train.items()
  }
  told = dataclasses.replace(zoo_context, snapshots=before)
  assert told.bar == zoo_context.bar
  known, which = told.shown.nearest(before)
  unknown, _ = told.neighbours.nearest(before)
  np.testing.assert_allclose(known, 0, atol=1e-4)
  assert np.all(unknown > 0.1)
  np.testing.assert_array_equal(which, zoo_context.num_train + np.arange(4))


def test_checkpoints_of_one_run_are_measured_by_independent_runs(zoo_context):
  rng = np.random.default_rng(0)
  one = {
    path: value[:1] + rng.normal(0, 1e-3, (8, *value.shape[1:]))
    for path, value in zoo_context.train.items()
  }
  one = {path: value.astype(np.float32) for path, value in one.items()}
  changes = {'train': one, 'independent': False}
  told = dataclasses.replace(zoo_context, heldout=zoo_context.train, **changes)
  assert told.bar == zoo_context.bar and told.num_runs == 1
  # Not by each other, or every copy with a little noise would be new.
  assert np.median(told.train_distance) < 0.05 * told.bar.tau
  with pytest.raises(ValueError, match='how runs differ'):
    dataclasses.replace(zoo_context, heldout=None, **changes).bar  # noqa: B018
