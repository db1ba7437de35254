"""Folds: what is alike is held out together, and a planted leak shows."""

import numpy as np
import pytest

from wsjax.zoo import folds

NUM = 120


def twins(seed=0):
  """Pairs of nearly equal networks whose labels say nothing but the pair."""
  rng = np.random.default_rng(seed)
  labels = np.repeat(rng.integers(2, size=NUM // 2), 2)
  first = rng.normal(size=(NUM // 2, 30)).astype(np.float32)
  second = first + 0.01 * rng.normal(size=first.shape).astype(np.float32)
  both = np.stack([first, second], 1).reshape(NUM, 30)
  return [{'w': x.reshape(5, 6)} for x in both], labels


def neighbour_accuracy(networks, labels, dealt):
  """Accuracy of the nearest network of the other folds."""
  flat = np.stack([x['w'].ravel() for x in networks])
  distance = ((flat[:, None] - flat) ** 2).sum(-1)
  distance[dealt[:, None] == dealt] = np.inf
  return np.mean(labels[distance.argmin(1)] == labels)


def test_twins_leak_unless_they_are_joined():
  networks, labels = twins()
  names = [f'net{i}' for i in range(NUM)]
  apart = folds.assign(labels, names, num=5, seed=0)
  joined = folds.join(networks, names)
  together = folds.assign(labels, joined, num=5, seed=0)
  assert neighbour_accuracy(networks, labels, apart) > 0.8
  assert neighbour_accuracy(networks, labels, together) < 0.65
  assert len(set(joined)) == NUM // 2
  assert all(a == b for a, b in zip(together[::2], together[1::2], strict=True))


def test_groups_are_joined_over_a_chain_and_only_then():
  networks, _ = twins()
  names = [f'net{i}' for i in range(NUM)]
  names[1] = names[2]  # So both pairs and what is between them are one group.
  joined = folds.join(networks, names)
  assert len({*joined[:4]}) == 1
  assert len(set(joined)) == NUM // 2 - 1
  other = [{'w': x['w'].reshape(6, 5)} for x in networks[1::2]]
  mixed = [*networks[::2], *other]  # The same numbers, another architecture.
  assert len(set(folds.join(mixed, [str(i) for i in range(NUM)]))) == NUM


def test_no_group_straddles_and_classes_are_shared_out():
  rng = np.random.default_rng(0)
  groups = [f'task{i}' for i in rng.integers(30, size=NUM)]
  labels = rng.integers(3, size=NUM)
  dealt = folds.assign(labels, groups, num=4, seed=1)
  for group in set(groups):
    assert len({f for f, g in zip(dealt, groups, strict=True) if g == group}) == 1
  shares = np.stack([np.bincount(labels[dealt == fold], minlength=3) for fold in range(4)])
  assert shares.min() > 0.5 * NUM / 12
  again = folds.assign(labels, groups, num=4, seed=1)
  np.testing.assert_array_equal(dealt, again)
  assert (folds.assign(labels, groups, num=4, seed=2) != dealt).any()


def test_numbers_are_dealt_by_rank():
  values = np.exp(np.linspace(0, 9, 40)).astype(np.float32)
  dealt = folds.assign(values, [str(i) for i in range(40)], num=4, seed=0)
  for fold in range(4):
    ranks = np.flatnonzero(dealt == fold)
    assert len(ranks) == 10 and 15 < ranks.mean() < 24


@pytest.mark.parametrize(
  'labels, groups, num, message',
  [
    ([0, 1, 0, 1], 'abcd', 1, 'from 2 to the 4 groups; got 1'),
    ([0, 1, 0, 1], 'aabb', 3, 'from 2 to the 2 groups; got 3'),
    ([0, 0, 0, 1], 'abcd', 2, 'Class 1 has 1 networks, fewer'),
    ([0, 0, 1, 1], 'abcc', 2, 'trains without class 1'),
  ],
)
def test_what_does_not_deal_is_refused(labels, groups, num, message):
  with pytest.raises(ValueError, match=message):
    folds.assign(np.array(labels), list(groups), num=num, seed=0)
