"""Quality in the mean, the middle and the tail."""

import numpy as np
import pytest

from wsjax.evaluation import statistics
from wsjax.evaluation.metrics import accuracy as accuracy_lib


def test_guessing_is_not_functional_and_knowing_is():
  labels = np.random.default_rng(0).integers(10, size=1000)
  level = accuracy_lib.chance(labels)
  error = np.sqrt(level * (1 - level) / 1000)
  accuracy = np.array([0.0, level, level + 2.9 * error, level + 3.1 * error])
  flags = accuracy_lib.nonfunctional(accuracy, labels)
  assert flags.tolist() == [True, True, True, False]


def test_a_constant_network_is_at_chance_on_unequal_classes():
  labels = np.array([0] * 70 + [1] * 30)
  assert accuracy_lib.chance(labels) == 0.7
  assert accuracy_lib.nonfunctional(np.array([0.7]), labels).all()


def test_tail_sees_what_the_middle_forgives():
  correct = np.ones((20, 50), bool)
  correct[:2] = False
  metrics = accuracy_lib.metrics(
    correct, np.arange(50) % 5, np.zeros(20), statistics.Resampler(num_items=50, num_bootstrap=100)
  )
  value = {name: stat['value'] for name, stat in metrics.items()}
  assert value['accuracy'] == pytest.approx(0.9)
  assert value['accuracy_iqm'] == pytest.approx(1.0)
  assert value['accuracy_worst_decile'] == pytest.approx(0.0)
  assert value['nonfunctional_rate'] == pytest.approx(0.1)
