"""Who says which processes a run has, in order; and what one process is."""

import numpy as np
import pytest

from wsjax import distributed

EXPLICIT = {
  'WSJAX_COORDINATOR': '10.0.0.1:1234',
  'WSJAX_NUM_PROCESSES': '4',
  'WSJAX_PROCESS_ID': '3',
}
SLURM = {'SLURM_PROCID': '0', 'SLURM_STEP_NUM_TASKS': '2'}
TPU = {'TPU_WORKER_HOSTNAMES': 'host-0,host-1'}


@pytest.mark.parametrize(
  ('environment', 'want'),
  [
    (EXPLICIT | SLURM | TPU, 'explicit'),
    (SLURM | TPU, 'slurm'),
    (TPU, 'tpu'),
    ({}, 'none'),
    # A batch script, or a step of one task, is one process.
    ({'SLURM_PROCID': '0', 'SLURM_STEP_NUM_TASKS': '1'}, 'none'),
    ({'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '8'}, 'none'),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, 'none'),
    ({name: '' for name in EXPLICIT}, 'none'),
  ],
)
def test_the_first_that_is_set_says_it(environment, want):
  assert distributed.source(environment) == want


@pytest.mark.parametrize('name', EXPLICIT)
def test_half_a_setting_is_refused(name):
  environment = {k: v for k, v in EXPLICIT.items() if k != name}
  with pytest.raises(ValueError, match=f'not {name}; .* needs all three'):
    distributed.source(environment)


@pytest.mark.parametrize('number', ['4', '-1', 'x'])
def test_a_process_that_cannot_be_is_refused(number):
  with pytest.raises(ValueError, match='allowed are numbers from 0'):
    distributed.source(EXPLICIT | {'WSJAX_PROCESS_ID': number})


def test_one_process_agrees_with_itself():
  assert distributed.is_writer()
  assert distributed.largest(7) == 7
  value = {'a': np.arange(3)}
  assert distributed.of_writer(value) is value
  np.testing.assert_array_equal(distributed.everywhere(value)['a'], value['a'])
  distributed.barrier('alone')
