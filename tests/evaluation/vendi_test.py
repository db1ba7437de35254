"""The score counts what is different."""

import numpy as np
import pytest

from wsjax.evaluation.metrics import vendi


def test_score_is_the_number_of_groups_of_equal_size():
  for groups in (1, 2, 5):
    labels = np.repeat(np.arange(groups), 4)
    products = (labels[:, None] == labels[None]).astype(float)
    assert vendi.score(products) == pytest.approx(groups)


def test_ratio_is_one_for_more_of_the_same_and_falls_with_collapse():
  found = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    samples, heldout = rng.standard_normal((2, 100, 8))
    value, count = vendi.ratio(rng, samples, heldout, 3.0)
    found.append(value)
    assert count == 64
  assert np.mean(found) == pytest.approx(1, abs=0.05)
  value, count = vendi.ratio(rng, 0.01 * samples[:20], heldout, 3.0)
  assert value < 0.3 and count == 20
