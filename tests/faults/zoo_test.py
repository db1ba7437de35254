"""A zoo whose training was killed at any instant is the one of no kill."""

import random
import signal

import pytest

from tests.faults import runs
from wsjax.zoo.store import log as log_lib
from wsjax.zoo.store import store

CHUNK, NETS = 4, 28


def job(workdir, **changes):
  argv = ['zoo', 'build', '--config', 'configs/digits_flow.py:smoke']
  argv += [f'--config.zoo.chunk_size={CHUNK}', '--workdir', str(workdir)]
  return {'argv': argv, **changes}


def content(workdir):
  """All of a zoo that has to be the same, and what should not be there."""
  zoo = store.Zoo.open(workdir / 'zoo')
  zoo.check()
  shards = sorted((workdir / 'zoo/shards').iterdir())
  return {
    'keys': zoo.keys,
    'digest': zoo.content_digest,
    'shards': {path.name: path.read_bytes() for path in shards},
    'files': sorted(path.name for path in (workdir / 'zoo').iterdir()),
    'drafts': runs.drafts(workdir),
  }


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """(content of an undisturbed zoo, how often files change)."""
  folder = tmp_path_factory.mktemp('zoo')
  changes = runs.run(job(folder, inside=str(folder)))[-1]['changes']
  want = content(folder)
  assert len(want['keys']) == NETS and want['drafts'] == []
  return want, changes


def kill_at_random(folder, event, delay):
  """Kills a build `delay` seconds after an event.

  Args:
    folder: workdir.
    event: so many changes of the log; a file of the zoo that is there.
    delay: in seconds.
  """
  log, seen = folder / 'zoo/log.lmdb/data.mdb', set()

  def reached():
    if isinstance(event, str):
      return (folder / 'zoo' / event).exists()
    if log.exists():
      seen.add(log.stat().st_mtime_ns)
    return len(seen) > event

  runs.kill(job(folder), reached, delay)


def finish(folder):
  runs.run(job(folder), **runs.READ_ONLY_CACHE)
  return content(folder)


EVENTS = ['build.json', 0, 1, 2, 4, 6, '.publishing', 'shards', 'manifest.json']


def points(count, seed):
  rng = random.Random(seed)
  events = [EVENTS[i * len(EVENTS) // count] for i in range(count)]
  return [(event, rng.uniform(0, 0.03)) for event in events]


@pytest.mark.slow
def test_f3_2_killed_three_times_a_zoo_has_the_same_networks_once(whole, tmp_path):
  kill_at_random(tmp_path, 'build.json', 0.02)
  # In the middle of an append, of which nothing is there.
  at = {'call': 'Transaction.put', 'number': 2 * CHUNK + 2}
  runs.run(job(tmp_path, at=at), status=-signal.SIGKILL)
  with log_lib.Log(tmp_path / 'zoo/log.lmdb') as log:
    assert len(log) % CHUNK == 0 and 0 < len(log) < NETS
  kill_at_random(tmp_path, '.publishing', 0.002)
  assert finish(tmp_path) == whole[0]


@pytest.mark.slow
def test_f3_2_another_zoo_is_found(whole, tmp_path):
  want = whole[0]
  other = job(tmp_path)
  other['argv'].append('--config.seed=1')
  runs.run(other, **runs.READ_ONLY_CACHE)
  got = content(tmp_path)
  assert got['keys'] == want['keys']
  assert got['digest'] != want['digest'] and got['shards'] != want['shards']


@pytest.mark.slow
@pytest.mark.parametrize('event, delay', points(20, seed=3))
def test_f3_2_killed_at_a_random_instant_a_zoo_is_the_same(whole, tmp_path, event, delay):
  kill_at_random(tmp_path, event, delay)
  assert finish(tmp_path) == whole[0]


@pytest.mark.slow
@pytest.mark.parametrize('part', range(20))
def test_f3_2_killed_before_any_change_of_files_a_zoo_is_the_same(whole, tmp_path, part):
  at = {'number': 1 + part * (whole[1] - 1) // 19}
  killed = job(tmp_path, inside=str(tmp_path), at=at)
  runs.run(killed, status=-signal.SIGKILL)
  assert finish(tmp_path) == whole[0]
