"""Distance to the nearest training network, by few matchings."""

import dataclasses

import numpy as np
import pytest

from wsjax import networks
from wsjax.evaluation import baselines, predictions
from wsjax.models import mlp
from wsjax.symmetry import distance


def _zoo(widths, count):
  """Random networks with some likeness, as training gives them."""
  architecture = mlp.MLP(widths=widths)
  rng = np.random.default_rng(0)
  return architecture.spec, {
    leaf.path: (
      rng.standard_normal((1, *leaf.shape)) + 0.7 * rng.standard_normal((count, *leaf.shape))
    ).astype(np.float32)
    for leaf in architecture.spec.leaves
  }


def test_candidates_find_what_matching_every_pair_finds():
  spec, nets = _zoo((6, 8, 7, 4), 34)
  nets = baselines.move(nets, spec, seed=1)
  train, samples = (networks.take(nets, index) for index in (np.arange(30), np.arange(30, 34)))
  reference = {path: value[0] for path, value in train.items()}
  full = spec.distance(samples, train, reference=reference).min(axis=1)
  found, _ = distance.Neighbours(train, spec, reference).nearest(samples)
  every, _ = distance.Neighbours(train, spec, reference, num_nearest=30).nearest(samples)
  np.testing.assert_allclose(every, full, rtol=0.02)
  # An upper bound, and a tight one.
  assert np.all(found >= every - 1e-4)
  np.testing.assert_allclose(found, every, rtol=0.05)


def test_disguised_noisy_copies_are_found_by_their_behaviour():
  spec, train = _zoo((6, 16, 16, 4), 20)
  reference = {path: value[0] for path, value in train.items()}
  source = np.arange(5, 15)
  copies = {
    path: value[source] + 0.01 * np.random.default_rng(2).standard_normal(value[source].shape)
    for path, value in train.items()
  }
  copies = baselines.move(copies, spec, seed=3)
  likeness = np.eye(20)[source]
  search = distance.Neighbours(train, spec, reference, num_nearest=1)
  found, index = search.nearest(copies, similarity=likeness)
  np.testing.assert_array_equal(index, source)
  # Balancing changes the size of the noise, but not its order.
  assert np.all(found < 0.05 * spec.num_params**0.5)


def test_nearest_network_is_the_one_that_was_changed(zoo_reference):
  context = zoo_reference
  nets = networks.take(context.train, np.array([5, 2, 9]))
  nets['layer1/bias'] = nets['layer1/bias'] + np.float32(0.01)
  nets['layer0/kernel'][1] = np.nan
  distances, index = context.neighbours.nearest(nets)
  assert index.tolist() == [5, -1, 9]
  assert np.isnan(distances[1])
  np.testing.assert_allclose(distances[[0, 2]], 0.01 * 10**0.5, rtol=1e-3)


def test_leave_one_out_does_not_find_itself(zoo_reference):
  search = dataclasses.replace(zoo_reference.neighbours, num_similar=1)
  errors = zoo_reference.train_errors[:10]
  first = networks.take(zoo_reference.train, np.arange(10))
  search = dataclasses.replace(search, zoo=first)
  distances, index = search.nearest(
    first, similarity=predictions.error_iou(errors, errors), exclude_same_index=True
  )
  assert np.all(distances > 0.1) and np.all(index != np.arange(10))
  one = dataclasses.replace(search, zoo=networks.take(first, np.array([0])))
  with pytest.raises(ValueError, match='left'):
    one.nearest(networks.take(first, np.array([0])), exclude_same_index=True)


def test_blocks_of_rows_find_the_same(zoo_reference, monkeypatch):
  few = networks.take(zoo_reference.train, np.arange(12))
  search = dataclasses.replace(zoo_reference.neighbours, zoo=few, num_nearest=1, num_similar=1)
  # One candidate by likeness alone: a wrong row would give another network.
  alike = np.random.default_rng(0).random((12, 12))

  def find():
    return search.nearest(few, similarity=alike, exclude_same_index=True)

  whole = find()
  monkeypatch.setattr(distance, '_ROWS', 5)
  parts = find()
  np.testing.assert_allclose(whole[0], parts[0], rtol=1e-6)
  np.testing.assert_array_equal(whole[1], parts[1])


def test_a_broken_training_network_is_refused(zoo_reference):
  nets = networks.take(zoo_reference.train, np.arange(3))
  nets['layer0/kernel'][1] = np.nan
  search = dataclasses.replace(zoo_reference.neighbours, zoo=nets)
  with pytest.raises(ValueError, match='1 networks of the zoo'):
    search.nearest(networks.take(zoo_reference.train, np.arange(2)))
