"""Stopped and started again in a new process, a training ends as it would have.

Bitwise: parameters, average, optimizer state, history and data order.
"""

import signal

import pytest

from tests.faults import runs

MODES = {'jit': {}, 'host': {'data': 'host'}, 'unsteady': {'steady': False}}
# While the metrics of the fourth block, of steps 15 to 20, are written.
STOP = {'call': 'metrics_writer.py:write', 'number': 4, 'sends': signal.SIGTERM}


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
  """(whole, stopped) per mode."""
  folder = tmp_path_factory.mktemp('resume')
  whole = [{'workdir': folder / f'{m}0', **c} for m, c in MODES.items()]
  parts = [{'workdir': folder / f'{m}1', **c} for m, c in MODES.items()]
  stopped = [{**part, 'at': STOP} for part in parts]
  printed = runs.run({'train': whole + stopped})
  assert printed[3:] == [{'interrupted': 20}] * 3
  again = runs.run({'train': parts})
  assert again[:2] == printed[:2] and again[2] != printed[2]
  return {mode: tuple(runs.outcome(folder / f'{mode}{i}') for i in range(2)) for mode in MODES}


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['jit', 'host'])
def test_f3_1_stopped_at_a_step_it_ends_bitwise_like_one_that_was_not(outcomes, mode):
  whole, stopped = outcomes[mode]
  assert whole['step'] == 60 and len(whole['metrics']) == 12
  assert stopped == whole


@pytest.mark.slow
def test_f3_1_both_feeds_take_the_same_examples_and_end_alike(outcomes):
  assert outcomes['host'] == outcomes['jit']


@pytest.mark.slow
def test_f3_1_data_that_differ_by_process_are_found(outcomes):
  whole, stopped = outcomes['unsteady']
  assert stopped['metrics'][:4] == whole['metrics'][:4]
  for part in ('arrays', 'history', 'metrics'):
    assert stopped[part] != whole[part]
