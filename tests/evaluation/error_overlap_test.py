"""Error-IoU by matrix product is error-IoU by sets."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.reference import evaluation as reference
from wsjax.evaluation import predictions


@hypothesis.given(st.floats(0, 1), st.integers(0, 99))
def test_iou_is_that_of_sets(error_rate, seed):
  rng = np.random.default_rng(seed)
  a, b = rng.random((3, 17)) < error_rate, rng.random((4, 17)) < error_rate
  slow = [[reference.error_iou(x, y) for y in b] for x in a]
  np.testing.assert_allclose(predictions.error_iou(a, b), slow, rtol=1e-6)


def test_a_copy_has_iou_one_and_names_its_source():
  train = np.random.default_rng(0).random((6, 100)) < 0.2
  iou, source = predictions.max_iou(predictions.error_iou(train[[4, 1]], train))
  assert iou.tolist() == [1, 1] and source.tolist() == [4, 1]


def test_leave_one_out_does_not_see_itself():
  train = np.random.default_rng(0).random((6, 100)) < 0.2
  iou, source = predictions.max_iou(predictions.error_iou(train, train), exclude_same_index=True)
  assert np.all(iou < 1) and np.all(source != np.arange(6))
  with pytest.raises(ValueError, match='Leave-one-out'):
    predictions.max_iou(np.ones((2, 6)), exclude_same_index=True)


def test_other_items_are_refused():
  with pytest.raises(ValueError, match=r'\(2, 3\)'):
    predictions.error_iou(np.zeros((2, 3), bool), np.zeros((2, 4), bool))
