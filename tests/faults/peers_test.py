"""One process of a run is killed, and all of them start again."""

import json
import os
import subprocess
import sys

import pytest

from tests.devices import simulated
from tests.faults import command_test, runs


def launch(*words, grace='1'):
  """Runs a command as two processes of one device."""
  launcher = [sys.executable, 'launch/local.py', '--processes', '2']
  launcher += ['--devices', '1', '--grace', grace, '--', *words]
  return subprocess.run(
    launcher,
    cwd=simulated.ROOT,
    env={**os.environ, **runs.READ_ONLY_CACHE},
    capture_output=True,
    text=True,
    timeout=300,
  )


def job(words):
  return [sys.executable, '-m', 'tests.faults.worker', json.dumps(words)]


def printed(output, rank):
  """The last JSON value that a process printed."""
  start = f'[p{rank}] {{'
  found = [line for line in output.splitlines() if line.startswith(start)]
  return json.loads(found[-1].removeprefix(f'[p{rank}] '))


@pytest.mark.slow
def test_f3_13_all_start_again_when_one_was_killed_and_end_alike(tmp_path):
  whole = {'train': [{'workdir': str(tmp_path / 'whole')}]}
  (want,) = runs.run(whole, processes=2)
  # In the middle of the run: process 1 is killed when it has its metrics.
  once = tmp_path / 'killed'
  at = {'call': 'loop.py:_any_signal', 'number': 8, 'rank': 1}
  done = launch(
    *job({'train': [{'workdir': str(tmp_path / 'run')}], 'at': {**at, 'once': str(once)}})
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert once.exists() and 'p1 ended with 137' in done.stderr
  assert 'all start again (1 of 3)' in done.stderr
  assert printed(done.stdout, 0) == printed(done.stdout, 1) == want
  assert runs.lines(tmp_path / 'run') == runs.lines(tmp_path / 'whole')
  assert runs.drafts(tmp_path / 'run') == []


@pytest.mark.slow
@pytest.mark.parametrize(
  'call, number',
  [('loop.py:_any_signal', 1), ('train.py:train_networks', 3), ('__init__.py:draw', 1)],
  ids=['training', 'zoo', 'sampling'],
)
@pytest.mark.parametrize('rank', [0, 1])
def test_f3_13_the_whole_command_line_starts_again(tmp_path, call, number, rank):
  want, got = tmp_path / 'want', tmp_path / 'got'
  done = launch(*job(command_test.job(str(want))))
  assert done.returncode == 0, done.stderr[-3000:]
  at = {'call': call, 'number': number, 'rank': rank}
  at['once'] = str(tmp_path / 'killed')
  done = launch(*job(command_test.job(str(got), at=at)))
  assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
  assert (tmp_path / 'killed').exists()
  for part in ('zoo', 'samples/seed0'):
    shards = [(folder / part / 'shards/00000.safetensors').read_bytes() for folder in (want, got)]
    assert shards[0] == shards[1]
  task = command_test.TASK
  assert runs.lines(got / task) == runs.lines(want / task)
