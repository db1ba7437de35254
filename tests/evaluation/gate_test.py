"""The gate asks for quality and for distance, both."""

import numpy as np
import pytest

from wsjax.evaluation import reference

BAR = reference.Thresholds(accuracy=0.9, tau=2.0, max_iou=0.4, norm=5.0)
ACCURACY = np.array([0.95, 0.95, 0.95, 0.5, 0.9])
DISTANCE = np.array([2.5, 1.5, 0.1, 9.0, 2.0])


def test_strict_gate_needs_both():
  passed = BAR.strict(ACCURACY, DISTANCE)
  assert passed.tolist() == [True, False, False, False, True]


def test_half_gate_needs_half_the_distance():
  passed = BAR.strict(ACCURACY, DISTANCE, share=0.5)
  assert passed.tolist() == [True, True, False, False, True]


def test_behaviour_gate_needs_errors_of_its_own():
  iou = np.array([0.3, 0.4, 0.41, 0.0, 1.0])
  passed = BAR.functional(ACCURACY, iou)
  assert passed.tolist() == [True, True, False, False, False]


def test_copies_are_below_a_tenth_of_tau():
  copies = BAR.copies(np.array([0.0, 0.19, 0.2, 3.0]))
  assert copies.tolist() == [True, True, False, False]


def test_a_network_without_distance_passes_nothing():
  nothing = np.array([np.nan])
  assert not BAR.strict(np.ones(1), nothing)
  assert not BAR.strict(np.ones(1), nothing, share=0.5)
  assert not BAR.copies(nothing)


def test_a_zoo_of_copies_has_no_scale():
  with pytest.raises(ValueError, match='tau'):
    reference.Thresholds(accuracy=0.9, tau=0.0, max_iou=0.4, norm=5.0)
