"""A training killed at any instant ends as if it had not been.

Killed from outside at random, and by itself right before a change of a file.
"""

import random
import shutil
import signal

import pytest

from tests.faults import runs, worker

# Long enough to be hit while it does something: about every other block is saved by the clock,
# besides every third.
SECTION = {'steps': 240, 'checkpoint_every_seconds': 0.02, 'keep_best': 1}
BLOCKS = SECTION['steps'] // worker.SECTION['inner_steps']
TASK = 'train/seed0'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """(what an undisturbed run ends with, its changes of files, its folder)."""
  folder = tmp_path_factory.mktemp('kill') / TASK
  job = {'train': [{'workdir': folder, **SECTION}], 'inside': folder}
  changes = runs.run(job)[-1]['changes']
  want = runs.outcome(folder)
  assert want['step'] == 240 and want['drafts'] == []
  assert [row['step'] for row in want['metrics']] == list(range(5, 241, 5))
  return want, changes, folder


def kill_at_random(folder, block, delay):
  """Kills a training `delay` seconds after a block; -1 is while it opens."""
  log = folder / ('metrics.jsonl' if block >= 0 else 'goodput.jsonl')

  def reached():
    if block < 0:
      return log.exists()
    return log.exists() and log.read_bytes().count(b'\n') > block

  runs.kill({'train': [{'workdir': folder, **SECTION}]}, reached, delay)


def kill_before_change(folder, number):
  """A training that kills itself right before it changes a file."""
  at = {'number': number}
  job = {'train': [{'workdir': folder, **SECTION}], 'inside': folder, 'at': at}
  runs.run(job, status=-signal.SIGKILL)


def finish(folder):
  runs.run({'train': [{'workdir': folder, **SECTION}]}, **runs.READ_ONLY_CACHE)
  return runs.outcome(folder)


def points(count, seed):
  """(block, delay) spread over a run, the first while it opens."""
  rng = random.Random(seed)
  blocks = [-1] + [int(BLOCKS * (i + rng.random()) / count) - 1 for i in range(1, count)]
  return [(block, rng.uniform(0, 0.1)) for block in blocks]


@pytest.mark.slow
def test_f3_2_killed_three_times_at_random_it_ends_bitwise_alike(whole, tmp_path):
  for block, delay in points(3, seed=0):
    kill_at_random(tmp_path / TASK, block, delay)
  assert finish(tmp_path / TASK) == whole[0]


@pytest.mark.slow
def test_f3_2_killed_between_two_changes_of_a_save_it_ends_bitwise_alike(whole, tmp_path):
  kill_before_change(tmp_path / TASK, whole[1] // 3)
  assert finish(tmp_path / TASK) == whole[0]


@pytest.mark.slow
def test_f3_2_the_comparison_finds_what_a_kill_could_do(whole, tmp_path):
  folder = shutil.copytree(whole[2], tmp_path / 'copy')
  assert runs.outcome(folder) == whole[0]
  log = folder / 'metrics.jsonl'
  text = log.read_text()
  log.write_text(text + text.splitlines(keepends=True)[-1])
  assert runs.outcome(folder) != whole[0]
  log.write_text(text)
  (folder / '15.orbax-checkpoint-tmp').mkdir()
  assert runs.outcome(folder) != whole[0]
  (folder / '15.orbax-checkpoint-tmp').rmdir()
  assert runs.outcome(folder) == whole[0]


@pytest.mark.slow
def test_f3_2_data_that_differ_by_process_are_found_after_a_kill(whole, tmp_path):
  folder = tmp_path / TASK
  job = {'train': [{'workdir': folder, **SECTION, 'steady': False}]}
  at = {'at': {'call': 'metrics_writer.py:write', 'number': BLOCKS // 2}}
  runs.run({**job, **at}, status=-signal.SIGKILL)
  first = runs.lines(folder)
  runs.run(job, **runs.READ_ONLY_CACHE)
  assert runs.lines(folder)[: len(first) // 2] == first[: len(first) // 2]
  assert runs.outcome(folder) != whole[0]


@pytest.mark.slow
@pytest.mark.parametrize('block, delay', points(20, seed=2))
def test_f3_2_killed_at_a_random_instant_it_ends_bitwise_alike(whole, tmp_path, block, delay):
  kill_at_random(tmp_path / TASK, block, delay)
  assert finish(tmp_path / TASK) == whole[0]


@pytest.mark.slow
@pytest.mark.parametrize('part', range(20))
def test_f3_2_killed_before_any_change_of_files_it_ends_bitwise_alike(whole, tmp_path, part):
  # The first twenty changes, one by one, and others all over the run.
  for number in (1 + part, 21 + part * (whole[1] // 2 - 21) // 20):
    kill_before_change(tmp_path / str(number) / TASK, number)
    assert finish(tmp_path / str(number) / TASK) == whole[0]
