"""What was derived from a training network has no barrier to it."""

import numpy as np
import pytest

from wsjax.evaluation import baselines, methods, predictions, statistics
from wsjax.evaluation.metrics import barriers

NETS = np.arange(8)


@pytest.fixture(scope='module')
def find(zoo_context):
  items = predictions.make_items(zoo_context.test_x, zoo_context.test_y)

  def found(params, groups=None):
    groups = np.zeros(len(NETS)) if groups is None else groups
    heights = barriers.barriers(params, items, groups, zoo_context)
    return {key: value.mean() for key, value in heights.items()}

  return found


def test_further_runs_have_a_barrier_that_matching_lowers(find, zoo_context):
  runs = find(methods.take(zoo_context.heldout, NETS))
  assert runs['train_raw'] > 0.2
  assert 0 < runs['train'] < 0.5 * runs['train_raw']
  assert 0 < runs['self'] < 0.5 * runs['train_raw']


def test_noisy_copies_are_in_the_basin_of_their_original(find, zoo_context):
  rng = np.random.default_rng(0)
  noisy = {
    path: value[NETS] + 0.02 * rng.standard_normal(value[NETS].shape)
    for path, value in zoo_context.train.items()
  }
  copies = find({k: v.astype(np.float32) for k, v in noisy.items()})
  assert copies['train_raw'] < 0.01
  assert copies['self'] > 0.01, 'the originals are several'


def test_a_disguise_raises_the_line_and_matching_finds_it(find, zoo_context):
  copies = methods.take(zoo_context.train, NETS)
  moved = baselines.move(copies, zoo_context.architecture.spec, seed=1)
  hidden = find({path: np.asarray(value) for path, value in moved.items()})
  assert hidden['train_raw'] > 0.2
  assert hidden['train'] < 0.01


def test_other_samples_are_those_of_the_same_seed(find, zoo_context):
  """Each seed makes one network: that another seed makes another is no help."""
  rows = np.repeat([0, 1], 4)
  twice = methods.take(zoo_context.heldout, rows)
  assert find(twice, rows)['self'] == pytest.approx(0, abs=1e-4)
  assert find(twice, np.arange(8) % 2)['self'] > 0.01


def test_one_network_alone_has_no_other(zoo_context):
  items = predictions.make_items(zoo_context.test_x, zoo_context.test_y)
  one = methods.take(zoo_context.heldout, NETS[:1])
  found = barriers.barriers(one, items, np.zeros(1), zoo_context)
  stats = barriers.metrics(found, np.zeros(1), statistics.Resampler(0, 20))
  assert stats['barrier_self']['value'] is None
  assert stats['barrier_train']['value'] > 0
