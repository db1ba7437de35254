"""A log of events outlives kills, and says so where it is damaged."""

import json
import math
import os
import subprocess
import sys

import pytest

from wsjax.train.monitor import goodput


def record(path, *, step=0):
  """A process that does everything once."""
  with goodput.Recorder(path) as recorder:
    recorder.restore(0.0)
    recorder.start(step)
    recorder.block(step, step + 10, seconds=0.0, compiled=True)
    recorder.save(0.0)
    recorder.stop(step + 10, 'SIGTERM')


def test_a_log_outlives_restarts(tmp_path):
  path = tmp_path / 'new' / 'goodput.jsonl'
  record(path)
  first = path.read_bytes()
  record(path, step=10)
  assert path.read_bytes().startswith(first)
  events = goodput.read(path)
  kinds = ['restore', 'start', 'block', 'save', 'stop']
  assert [event['event'] for event in events] == 2 * kinds
  times = [event['time'] for event in events[:5]]
  assert times == sorted(times) and times[0] > 1.7e9
  a, b = (set(e['process'] for e in part) for part in (events[:5], events[5:]))
  assert len(a) == len(b) == 1 and a != b
  got = goodput.summary(path)
  assert got == goodput.summarize(events)
  assert (got['restarts'], got['kills'], got['useful_steps']) == (1, 0, 20)


def test_half_a_line_is_kept_and_read_over_wherever_a_kill_left_it(tmp_path):
  path = tmp_path / 'goodput.jsonl'
  record(path)
  whole = path.read_bytes()
  last = len(whole.splitlines(keepends=True)[-1])
  for missing in range(1, last + 1):
    path.write_bytes(whole[: len(whole) - missing])
    # Without its line end alone, the event is all there.
    count = 5 if missing == 1 else 4
    assert len(goodput.read(path)) == count
    record(path, step=10)
    assert path.read_bytes().startswith(whole[: len(whole) - missing])
    assert len(goodput.read(path)) == count + 5
  assert goodput.summary(path)['restarts'] == 1


def test_processes_that_die_in_their_first_line_do_no_harm(tmp_path):
  path = tmp_path / 'goodput.jsonl'
  path.write_bytes(b'{"event": "st\n{"eve')
  assert goodput.read(path) == []
  record(path)
  assert len(goodput.read(path)) == 5


def test_damage_in_the_middle_of_a_process_is_left_out_with_a_warning(tmp_path, caplog):
  path = tmp_path / 'goodput.jsonl'
  record(path)
  lines = path.read_text().splitlines()
  for bad in ('{"event": "blo', '[]', '1', json.dumps({'event': 'lunch'}),
              lines[2].replace('"compiled"', '"compile"'), lines[2].replace('10', '0'),
              lines[2].replace('"last"', '"first"'), '[' * 9999):  # fmt: skip
    path.write_text('\n'.join([*lines[:2], bad, *lines[3:]]) + '\n')
    caplog.clear()
    assert goodput.describe(goodput.summary(path))
    assert f'Lines [3] of {path}' in caplog.text


def test_a_process_that_is_really_killed_leaves_a_log(tmp_path):
  code = (
    'import sys; from wsjax.train.monitor import goodput\n'
    'recorder = goodput.Recorder(sys.argv[1])\n'
    'recorder.start(0)\n'
    'for step in range(10**9):\n'
    '  recorder.block(step, step + 1, seconds=1e-9, compiled=False)\n'
    '  if step == 20: print("going", flush=True)'
  )
  path = tmp_path / 'goodput.jsonl'
  for number in range(3):
    words = [sys.executable, '-c', code, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
      assert child.stdout.readline()
      child.kill()
    got = goodput.summary(path)
    assert (got['restarts'], got['kills']) == (number, number)
    assert got['useful_steps'] > 20


def test_what_makes_no_sense_is_refused_and_not_logged(tmp_path):
  path = tmp_path / 'goodput.jsonl'
  with goodput.Recorder(path) as recorder:
    with pytest.raises(ValueError, match='steps 5 to 5 has no step'):
      recorder.block(5, 5, seconds=1.0, compiled=False)
    for seconds in (-1.0, math.nan, math.inf):
      with pytest.raises(ValueError, match='seconds of a save; allowed: 0'):
        recorder.save(seconds)
  assert path.read_bytes() == b''


def test_a_process_that_does_not_write_touches_nothing(tmp_path):
  with goodput.Recorder(tmp_path / 'a' / 'b', enabled=False) as recorder:
    recorder.start(0)
    recorder.block(0, 10, seconds=1.0, compiled=True)
    recorder.save(1.0)
    recorder.stop(10, goodput.DONE)
  assert os.listdir(tmp_path) == []
