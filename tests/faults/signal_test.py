"""SIGTERM and Ctrl-C at random instants of every command: 75 or 130 within 5 seconds."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.faults import runs

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = ['--config', 'configs/digits_flow.py:smoke', '--config.zoo.chunk_size=4']
STATUS = {signal.SIGTERM: 75, signal.SIGINT: 130}
# Before that Python itself may not have started.
FIRST, LAST = 0.3, 20.0


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The workdir of a run, and how long the command took."""
  folder = tmp_path_factory.mktemp('finished')
  began = time.monotonic()
  subprocess.run(command('run', folder, folder), cwd=ROOT, check=True, capture_output=True)
  return folder, time.monotonic() - began


def command(name, workdir, finished):
  """The words of a command that works in a folder."""
  wsjax = [sys.executable, '-m', 'wsjax']
  zoo = [f'--config.zoo.path={finished}/zoo', '--workdir', str(workdir)]
  sweep = ['--config', 'configs/ablations/canonicalize.py', '--workdir', str(workdir)]
  run = [*wsjax, 'run', *CONFIG, '--workdir', str(workdir)]
  return {
    'run': run,
    'zoo': [*wsjax, 'zoo', 'build', *CONFIG, '--workdir', str(workdir)],
    'sample': [*wsjax, 'sample', '--workdir', str(finished), '--num=3', '--out', str(workdir)],
    'evaluate': [*wsjax, 'evaluate', *CONFIG, *zoo, '--zoo', f'{finished}/samples/seed0'],
    'sweep': [*wsjax, 'sweep', *sweep, '--config.train.steps=20', '--jobs=2'],
    'local': [sys.executable, 'launch/local.py', '--devices=1', '--', *run],
  }[name]


def stop(words, number, delay):
  """Exit status and seconds of a command that gets a signal after a delay."""
  process = subprocess.Popen(
    words,
    cwd=ROOT,
    env=os.environ | runs.READ_ONLY_CACHE,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  time.sleep(delay)  # The instant is what is tested.
  over = process.poll() is not None
  began = time.monotonic()
  process.send_signal(number)
  try:
    _, err = process.communicate(timeout=60)
  finally:
    process.kill()
  return None if over else process.returncode, time.monotonic() - began, err


def check(name, finished, folder, rng, count):
  """Stops a command at some instants, one after the other in one folder."""
  for _ in range(count):
    number = rng.choice(list(STATUS))
    delay = rng.uniform(FIRST, min(LAST, finished[1]))
    status, seconds, err = stop(command(name, folder, finished[0]), number, delay)
    if status in (None, 0):  # It was quicker than the signal.
      return
    assert status == STATUS[number], (name, delay, err[-2000:])
    assert seconds < 5, (name, delay, seconds, err[-2000:])
    assert 'Traceback' not in err


@pytest.mark.slow
@pytest.mark.parametrize('name', ['zoo', 'sample', 'evaluate', 'sweep', 'local'])
def test_f1_each_command_ends_at_a_few_instants(name, finished, tmp_path):
  check(name, finished, tmp_path / 'x', random.Random(name), 4)


def test_f1_a_command_ends_at_a_random_instant(tmp_path):
  rng = random.Random(time.time_ns())
  check('run', (tmp_path, 8.0), tmp_path / 'x', rng, 1)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('name', ['run', 'zoo', 'sample', 'evaluate', 'sweep', 'local'])
def test_f1_100_random_instants(name, seed, finished, tmp_path):
  check(name, finished, tmp_path / 'x', random.Random(seed), 1)
