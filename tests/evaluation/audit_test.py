"""Sets that share networks are compared without them."""

import numpy as np

from wsjax.evaluation.metrics import audit


def test_each_shared_network_stays_on_one_side():
  theirs = np.random.default_rng(0).standard_normal((6, 50))
  mine = np.concatenate([theirs[[4, 1, 5]] + 1e-6, -theirs[:2]])
  here, there = audit.disjoint(mine, theirs)
  # Shared are 1, 4 and 5 of theirs; of these the arm keeps every other one.
  assert here.tolist() == [False, True, True, True, True]
  assert there.tolist() == [True, False, True, True, True, False]


def test_strangers_all_stay_and_equal_sets_are_halved():
  one, two = np.random.default_rng(1).standard_normal((2, 8, 50))
  here, there = audit.disjoint(one, two)
  assert here.all() and there.all()
  here, there = audit.disjoint(one, one)
  assert here.sum() == there.sum() == 4
  assert not (here & there).any()
