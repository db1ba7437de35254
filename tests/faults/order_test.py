"""No example is repeated or skipped, on whatever devices and restarts."""

import jax
import numpy as np
import pytest

from tests.faults import runs, worker
from wsjax.train import step

# (devices, processes, steps done in the end): a run that moves house.
MOVES = [(1, 1, 7), (4, 1, 18), (1, 2, 28)]
MODES = {'jit': {}, 'host': {'data': 'host'}}
SECTION = {'inner_steps': 1, 'schedule': 'constant'}


def expected(num_steps):
  """The examples of every step, sorted."""
  _, run_key, _ = jax.random.split(jax.random.key(0), 3)
  order_key, _ = step.keys_of_run(run_key)
  return [
    sorted(
      np.asarray(step.batch_indices(order_key, np.int32(s), worker.SIZE, worker.BATCH)).tolist()
    )
    for s in range(num_steps)
  ]


def check_epochs(taken):
  """Every epoch takes an example at most once, and all that fit."""
  per_epoch = worker.SIZE // worker.BATCH
  for start in range(0, len(taken), per_epoch):
    epoch = sum(taken[start : start + per_epoch], [])
    assert len(epoch) == len(set(epoch)), f'repeated after step {start}'
    missing = worker.SIZE - len(epoch)
    whole = len(taken) - start >= per_epoch
    assert not whole or missing == worker.SIZE % worker.BATCH


@pytest.fixture(scope='module')
def moved(tmp_path_factory):
  """Mode -> examples of every step of a run that went on elsewhere."""
  folder = tmp_path_factory.mktemp('order')
  for devices, processes, steps in MOVES:
    jobs = [
      {'workdir': folder / mode, 'steps': steps, **SECTION, **changes}
      for mode, changes in MODES.items()
    ]
    runs.run({'train': jobs}, devices=devices, processes=processes)
  return {mode: [runs.seen(row) for row in runs.lines(folder / mode)] for mode in MODES}


@pytest.mark.slow
@pytest.mark.parametrize('mode', MODES)
def test_f3_7_every_step_takes_the_same_examples_on_any_devices(moved, mode):
  assert moved[mode] == expected(MOVES[-1][-1])
  check_epochs(moved[mode])


def test_f3_7_a_repeated_batch_and_a_skipped_one_are_found():
  taken = expected(10)
  check_epochs(taken)
  with pytest.raises(AssertionError, match='repeated after step 5'):
    check_epochs(taken[:7] + taken[6:])
  # As if a restart began a new epoch.
  with pytest.raises(AssertionError, match='repeated after step 0'):
    check_epochs(taken[:3] + taken[5:])


@pytest.mark.slow
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('devices, processes', [(2, 1), (4, 1), (2, 2)])
def test_f3_7_killed_on_any_devices_it_takes_the_same_examples(tmp_path, mode, devices, processes):
  train = {'workdir': tmp_path / 'run', 'steps': 28, **SECTION, **MODES[mode]}
  at = {'call': 'metrics_writer.py:write', 'number': 18}
  (process, *others) = runs.start(
    {'train': [train], 'at': at}, devices=devices, processes=processes
  )
  process.communicate()
  for other in others:  # They cannot go on without the first.
    other.kill()
    other.communicate()
  assert process.returncode == -9
  runs.run({'train': [train]}, devices=devices, processes=processes)
  taken = [runs.seen(row) for row in runs.lines(tmp_path / 'run')]
  assert taken == expected(28)
