"""The whole command line meets faults, and ends where it would have ended.

Statuses are those of wsjax/cli/main.py: 0 done, 2 one sentence that says what is wrong, 75 to be
started again.
"""

import json
import os
import re
import shutil
import signal
import sys

import pytest

from tests.devices import simulated
from tests.faults import runs
from wsjax import files
from wsjax.zoo.store import store

TASK = 'train/seed0'
# The metrics that are of the machine.
SPEED = ('seconds_per_net', 'break_even', 'break_even_with_zoo')
# Before there is anything but the claim of the workdir.
OPENING = {'call': 'base.py:open_zoo', 'number': 1}
# While a zoo is trained: the second network of the second chunk goes to the log.
ZOO_TRAINING = {'call': 'Transaction.put', 'number': 6}
# While a generator is trained: the metrics of its first block are written.
TRAINING = {'call': 'metrics_writer.py:write', 'number': 1}
# Bytes of a file: less than the log of a zoo has, and a checkpoint.
FULL = 100_000


def job(workdir, **changes):
  argv = ['run', '--config', 'configs/digits_flow.py:smoke']
  argv += ['--config.zoo.chunk_size=4', '--config.generator.backbone.width=64']
  argv += ['--workdir', str(workdir)]
  return {'argv': argv, **changes}


def start(workdir, **changes):
  environment = changes.pop('environment', runs.READ_ONLY_CACHE)
  (process,) = runs.start(job(workdir, **changes), **environment)
  return process


def end(process):
  """(status, standard error) of a process."""
  ((status, _, err),) = simulated.finish([process])
  return status, err


def result(workdir):
  """What a finished run must have, whatever happened to it."""
  report = json.loads((workdir / 'report.json').read_text())
  return {
    'zoo': store.Zoo.open(workdir / 'zoo').content_digest,
    'samples': store.Zoo.open(workdir / 'samples/seed0').content_digest,
    'training': report['figures']['training'],
    'rows': {
      name: {k: v for k, v in row['stats'].items() if k not in SPEED}
      for name, row in report['tables']['methods']['rows'].items()
    },
    **runs.outcome(workdir / TASK),
    'drafts': runs.drafts(workdir),
  }


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The workdir of an undisturbed run."""
  folder = tmp_path_factory.mktemp('finished')
  status, err = end(start(folder, environment={}))
  assert status == 0, err[-3000:]
  return folder


def sentence(err):
  """The one sentence of the program itself; libraries may have said more."""
  (found,) = re.findall('wsjax: .*', err)
  return found


def full_disk(workdir):
  """The command on a disk where no file gets larger than `FULL`."""
  status, err = end(start(workdir, limit=FULL))
  assert status == 2, err[-3000:]
  return sentence(err)


def stopped(workdir, at):
  """The command that gets SIGTERM at an event."""
  status, err = end(start(workdir, at=at | {'sends': signal.SIGTERM}))
  assert status == 75, err[-3000:]
  assert 'stopped by SIGTERM; the same command goes on' in sentence(err)
  assert 'wsjax run --config configs/digits_flow.py:smoke' in sentence(err)


def check_stopped_in_training(workdir):
  """The block of the signal was ended and saved, and nothing done after it."""
  (row,) = runs.lines(workdir / TASK)
  assert runs.state(workdir / TASK)[0] == row['step'] == 2


def end_like(finished, workdir):
  """The command once more: it is done, with the result of `finished`."""
  status, err = end(start(workdir))
  assert status == 0, err[-3000:]
  assert result(workdir) == result(finished)


@pytest.mark.slow
def test_f3_3_stopped_in_training_it_ends_as_if_it_was_not(finished, tmp_path):
  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  stopped(tmp_path, TRAINING)
  check_stopped_in_training(tmp_path)
  end_like(finished, tmp_path)


@pytest.mark.slow
def test_f3_4_training_on_a_full_disk_says_so_and_goes_on_later(finished, tmp_path):
  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  stopped(tmp_path, TRAINING)
  said = full_disk(tmp_path)
  assert f'Checkpoint 4 could not be written to {tmp_path / TASK}' in said
  assert 'goes on from step 2' in said
  end_like(finished, tmp_path)


@pytest.mark.slow
def test_f3_3_f3_4_zoo_training_that_meets_faults_in_turn_ends_as_without_them(finished, tmp_path):
  assert f'{tmp_path}/zoo/log.lmdb could not take' in full_disk(tmp_path)
  stopped(tmp_path, ZOO_TRAINING)
  assert not (tmp_path / 'zoo/manifest.json').exists()
  end_like(finished, tmp_path)


def wait_until_stopped(process):
  found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
  assert found.si_code == os.CLD_STOPPED  # Else the place to stop at is called something else.


@pytest.mark.slow
def test_f3_11_a_second_launch_ends_and_touches_nothing_of_the_first(finished, tmp_path):
  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  first = start(tmp_path, at=OPENING | {'sends': signal.SIGSTOP})
  try:
    wait_until_stopped(first)
    before = runs.listing(tmp_path)
    status, err = end(start(tmp_path))
    assert status == 2
    assert f'Another run is writing to {tmp_path}: process {first.pid} on' in (sentence(err))
    assert runs.listing(tmp_path) == before
    # Killed, it leaves no lock; how that ends is a test of its own.
    first.kill()
    first.communicate()
    with files.hold(tmp_path):
      pass
  finally:
    first.kill()
    first.communicate()


@pytest.mark.slow
def test_f3_12_a_finished_run_ends_again_and_changes_nothing(finished):
  before = runs.listing(finished)
  logged = {**runs.READ_ONLY_CACHE, 'JAX_LOG_COMPILES': '1'}
  status, err = end(start(finished, environment=logged))
  assert status == 0
  assert runs.listing(finished) == before
  # Nothing is computed, so nothing compiled.
  assert 'Compiling' not in err


@pytest.mark.slow
def test_f3_12_compilation_would_have_been_seen(finished, tmp_path):
  logged = {**runs.READ_ONLY_CACHE, 'JAX_LOG_COMPILES': '1'}
  assert 'Compiling' in end(start(tmp_path, environment=logged))[1]


@pytest.mark.slow
def test_f3_11_the_first_goes_on_as_if_there_was_no_second(finished, tmp_path):
  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  first = start(tmp_path, at=TRAINING | {'sends': signal.SIGSTOP})
  try:
    wait_until_stopped(first)
    assert end(start(tmp_path))[0] == 2
    first.send_signal(signal.SIGCONT)
    status, err = end(first)
  finally:
    first.kill()
    first.communicate()
  assert status == 0, err[-3000:]
  assert result(tmp_path) == result(finished)


@pytest.mark.slow
def test_f3_11_after_the_first_was_killed_the_second_may_start(finished, tmp_path):
  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  first = start(tmp_path, at=TRAINING | {'sends': signal.SIGKILL})
  assert end(first)[0] == -signal.SIGKILL
  end_like(finished, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('part', range(4))
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_f3_3_stopped_before_any_change_of_files_it_ends_alike(finished, tmp_path, number, part):
  folder, status = tmp_path / 'run', None
  # Until the run has no so many changes left: every life stops somewhere.
  at = {'number': 5 + 46 * part, 'sends': number}
  for _ in range(30):
    status, err = end(start(folder, inside=str(folder), at=at))
    wanted = 75 if number == signal.SIGTERM else -number
    assert status in (0, wanted), err[-3000:]
    if status == 0:
      break
    at['number'] = at['number'] * 2 + 7
  assert status == 0
  assert result(folder) == result(finished)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='capabilities are of Linux')
@pytest.mark.parametrize('place', ['.', 'zoo', TASK])
def test_f3_4_a_read_only_folder_is_said_and_later_the_run_goes_on(finished, tmp_path, place):
  folder = tmp_path / 'run'
  (folder / place).mkdir(parents=True)
  (folder / place).chmod(0o555)
  try:
    status, err = end(start(folder, bound=True))
    assert status == 2, err[-3000:]
    assert str(folder / place) in sentence(err)
  finally:
    (folder / place).chmod(0o755)
  end_like(finished, folder)
