"""SIGTERM, Ctrl-C and SIGKILL at random instants of every command: 75, 130 or -9 within 5 seconds.

Started again, each ends with what it has when nobody stops it.
"""

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests import golden_test
from tests.faults import runs
from wsjax.zoo.store import store

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = ['--config', 'configs/digits_flow.py:smoke', '--config.zoo.chunk_size=4']
# Three methods on one small zoo.
SWEEP = [
  '--config', 'configs/ablations/canonicalize.py', '--jobs=2', '--config.train.seeds=(0,)',
  '--config.train.steps=20', '--config.train.warmup_steps=0', '--config.zoo.splits.train=16',
  '--config.zoo.splits.val=2', '--config.zoo.splits.test=8', '--config.zoo.splits.holdout_audit=2',
  '--config.zoo.recipe.steps=20', '--config.codec.rank=8', '--config.evaluate.num_samples=8',
  '--config.evaluate.num_bootstrap=50', '--config.evaluate.finetune_steps=2',
]  # fmt: skip
STATUS = {signal.SIGTERM: 75, signal.SIGINT: 130, signal.SIGKILL: -9}
# Before that Python itself may not have started.
FIRST = 0.3
COMMANDS = ['run', 'zoo', 'sample', 'evaluate', 'sweep', 'local']
OF_TIME = ('stages.json', 'seconds.json', '.lock')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The workdir of a run."""
  folder = tmp_path_factory.mktemp('finished')
  subprocess.run(command('run', folder, folder), cwd=ROOT, check=True, capture_output=True)
  return folder


def command(name, workdir, finished):
  """The words of a command that works in a folder."""
  wsjax = [sys.executable, '-m', 'wsjax']
  zoo = [f'--config.zoo.path={finished}/zoo', '--workdir', str(workdir)]
  run = [*wsjax, 'run', *CONFIG, '--workdir', str(workdir)]
  return {
    'run': run,
    'zoo': [*wsjax, 'zoo', 'build', *CONFIG, '--workdir', str(workdir)],
    'sample': [*wsjax, 'sample', '--workdir', str(finished), '--num=3', '--out', str(workdir)],
    'evaluate': [*wsjax, 'evaluate', *CONFIG, *zoo, '--zoo', f'{finished}/samples/seed0'],
    'sweep': [*wsjax, 'sweep', *SWEEP, '--workdir', str(workdir)],
    'local': [sys.executable, 'launch/local.py', '--devices=1', '--', *run],
  }[name]


def stop(words, number, delay):
  """Exit status and seconds of a command that gets a signal after a delay, unless it is over."""
  # A shell's background jobs ignore Ctrl-C, and so would what they start.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  process = subprocess.Popen(
    words,
    cwd=ROOT,
    env=os.environ | runs.READ_ONLY_CACHE,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  time.sleep(delay)  # The instant is what is tested.
  process.poll()
  began = time.monotonic()
  process.send_signal(number)
  try:
    _, err = process.communicate(timeout=60)
  finally:
    process.kill()
  return process.returncode, time.monotonic() - began, err


def result(folder):
  """What a command leaves behind, without times: networks, numbers, losses and names of files."""
  found = {'files': []}
  for path in sorted(folder.rglob('*')):
    name = str(path.relative_to(folder))
    if path.name == 'report.json':
      found[name] = golden_test.numbers(json.loads(path.read_text()))
    elif path.name == 'metrics.jsonl':
      found[name] = runs.lines(path.parent)
    elif path.name == 'records.jsonl':
      found[name] = store.Zoo.open(path.parent).content_digest
    if path.is_file() and 'train' not in path.parts and path.name not in OF_TIME:
      found['files'].append(name)
  return found


def whole(name, finished, folder):
  """The result of a command that nobody stops, or that goes on where it was stopped."""
  words = command(name, folder, finished)
  subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
  return result(folder)


@pytest.fixture(scope='module')
def undisturbed(finished, tmp_path_factory):
  """name -> (result of a command that nobody stops, how long it took)."""

  @functools.cache
  def make(name):
    began = time.monotonic()
    found = whole(name, finished, tmp_path_factory.mktemp(name) / 'x')
    return found, time.monotonic() - began

  return make


def check(words, number, delay):
  """Stops a command at an instant; whether the signal came before its end."""
  status, seconds, err = stop(words, number, delay)
  if status == 0:
    return False
  assert status == STATUS[number], (words, delay, err[-2000:])
  assert seconds < 5, (words, delay, seconds, err[-2000:])
  assert 'Traceback' not in err
  return True


def goes_on(name, finished, undisturbed, folder, rng, numbers, record_property):
  """Stops a command by signals, one after the other in one folder, and lets it go on."""
  want, longest = undisturbed(name)
  words = command(name, folder, finished)
  hits = 0
  for number in numbers:
    if not check(words, number, rng.uniform(FIRST, longest)):
      found = result(folder)  # It was quicker.
      break
    hits += 1
  else:
    found = whole(name, finished, folder)
  record_property(f'signals to {name}', hits)
  assert found == want
  if not hits:
    pytest.skip('the command was quicker than the signal')


def test_f1_a_command_ends_at_a_random_instant(tmp_path):
  rng = random.Random(time.time_ns())
  check(command('run', tmp_path / 'x', tmp_path), rng.choice(list(STATUS)), rng.uniform(FIRST, 8.0))


@pytest.mark.slow
def test_f1_a_run_stopped_at_a_random_instant_goes_on_to_the_same_end(tmp_path, smoke_run):
  rng = random.Random(time.time_ns())
  check(command('run', tmp_path / 'x', tmp_path), rng.choice(list(STATUS)), rng.uniform(FIRST, 8.0))
  # The reference has larger chunks, which change no number.
  assert whole('run', tmp_path, tmp_path / 'x') == result(smoke_run('digits_flow')[1])


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('name', COMMANDS)
def test_f1_100_signals(name, seed, finished, undisturbed, tmp_path, record_property):
  rng = random.Random(seed)
  numbers = rng.choices([signal.SIGTERM, signal.SIGINT], k=3)
  goes_on(name, finished, undisturbed, tmp_path / 'x', rng, numbers, record_property)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(100, 117))
@pytest.mark.parametrize('name', ['run', 'sweep'])
def test_f1_100_kills(name, seed, finished, undisturbed, tmp_path, record_property):
  rng = random.Random(seed)
  numbers = 3 * [signal.SIGKILL]
  goes_on(name, finished, undisturbed, tmp_path / 'x', rng, numbers, record_property)
