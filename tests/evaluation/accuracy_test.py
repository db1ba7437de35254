"""Accuracy in the mean, the middle and the tail."""

import types

import numpy as np
import pytest

from tests.evaluation import given
from wsjax.evaluation import reference
from wsjax.evaluation.metrics import accuracy as accuracy_lib


def test_guessing_is_not_functional_and_knowing_is():
  level, error = 0.1, np.sqrt(0.1 * 0.9 / 1000)
  accuracy = np.array([0.0, level, level + 2.9 * error, level + 3.1 * error])
  dead = accuracy_lib.nonfunctional(accuracy, level, 1000)
  assert dead.tolist() == [True, True, True, False]
  assert reference.above_chance(level, 1000) == pytest.approx(level + 3 * error)


def test_tail_sees_what_the_middle_forgives():
  correct = np.ones((20, 50), bool)
  correct[:2] = False
  sample = given.Given(
    np.zeros(20), 50, correct=correct, accuracy=correct.mean(axis=1), y=np.arange(50) % 5
  )
  metrics = given.measured('accuracy', sample, types.SimpleNamespace(chance=0.2))
  value = {name: stat['value'] for name, stat in metrics.items()}
  assert value['accuracy'] == pytest.approx(0.9)
  assert value['accuracy_iqm'] == pytest.approx(1.0)
  assert value['accuracy_worst_decile'] == pytest.approx(0.0)
  assert value['nonfunctional_rate'] == pytest.approx(0.1)
