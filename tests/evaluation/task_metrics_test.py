import numpy as np
import pytest

from wsjax.experiments import task_metrics

RNG = np.random.default_rng(0)
TRAINED = RNG.uniform(0.9, 1.0, 60)


def scores(accuracy, num_bootstrap=400):
  return task_metrics.scores(accuracy, TRAINED, num_bootstrap=num_bootstrap, seed=0)


def test_networks_trained_one_by_one_have_no_gap_to_themselves():
  found = scores(TRAINED[None])
  for name in ('gap', 'worst'):
    stat = found[name]
    assert stat['value'] == stat['low'] == stat['high'] == 0
  assert found['accuracy']['value'] == pytest.approx(TRAINED.mean())
  assert found['accuracy']['low'] < TRAINED.mean() < found['accuracy']['high']


def test_gaps_are_paired_by_task():
  """A constant gap has no spread, however far apart the tasks are."""
  found = scores(np.stack([TRAINED - 0.02, TRAINED - 0.02]))
  assert found['gap']['low'] == pytest.approx(0.02)
  assert found['gap']['high'] == pytest.approx(0.02)
  assert found['gap']['method'] == 'bootstrap-nets-seeds'
  # Seeds that differ widen it.
  found = scores(np.stack([TRAINED - 0.01, TRAINED - 0.03]))
  assert found['gap']['per_seed'] == pytest.approx([0.01, 0.03])
  assert found['gap']['low'] == pytest.approx(0.01)
  assert found['gap']['high'] == pytest.approx(0.03)


def test_the_worst_task_is_found():
  accuracy = TRAINED.copy()
  accuracy[7] -= 0.3
  assert scores(accuracy[None])['worst']['value'] == pytest.approx(0.3)
