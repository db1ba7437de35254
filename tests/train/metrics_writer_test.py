"""However often a run is killed, its metrics have every step once, in order."""

import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsjax.train.monitor import metrics_writer

BLOCKS = list(range(10, 101, 10))


def strict(line):
  """Reads a line as JSON is defined, without NaN."""

  def refuse(name):
    raise ValueError(f'{name} is not JSON')

  return json.loads(line, parse_constant=refuse)


def train(folder, begin, end):
  """Writes the metrics of the blocks of 10 steps from `begin` to `end`."""
  with metrics_writer.Metrics(folder, resume_step=begin) as writer:
    for step in range(begin + 10, end + 10, 10):
      writer.write(step, {'loss': 1 / step}, seconds=0.5)


# A kill: at the end of which block, how much of its line is missing, and how many blocks before it
# the newest checkpoint is.
KILLS = st.tuples(
  st.integers(1, 10), st.integers(0, 1000), st.integers(0, 9)
)  # fmt: skip


def train_with_kills(folder, kills):
  """A whole run that is killed now and then."""
  done = 0
  for block, missing, lost in kills:
    died = max(done + 10, 10 * block)
    train(folder, done, died)
    path = pathlib.Path(folder) / metrics_writer.NAME
    data = path.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    path.write_bytes(data[: len(data) - min(missing, last)])
    # A checkpoint is saved after its line is written.
    saved = died if not missing else died - 10
    done = min(max(done, died - 10 * lost), saved)
    if done == 100:
      return
  train(folder, done, 100)


@settings(max_examples=50)
@given(kills=st.lists(KILLS, max_size=5))
@example(kills=[(3, 0, 2), (5, 17, 1), (5, 1000, 0)])
def test_kills_leave_every_step_once_and_in_order(kills):
  with tempfile.TemporaryDirectory() as folder:
    train_with_kills(folder, kills)
    path = pathlib.Path(folder) / metrics_writer.NAME
    assert [strict(line)['step'] for line in path.read_text().splitlines()] == BLOCKS
    columns = metrics_writer.read(path)
    assert columns['step'] == BLOCKS
    assert columns['loss'] == [1 / step for step in BLOCKS]
    assert os.listdir(folder) == [metrics_writer.NAME]


def test_planted_fault_a_file_that_is_only_appended_to_breaks_the_law(tmp_path, monkeypatch):
  monkeypatch.setattr(metrics_writer, '_drop_after', lambda path, step: -1)
  train_with_kills(tmp_path, [(5, 0, 2)])
  steps = metrics_writer.read(tmp_path / metrics_writer.NAME)['step']
  assert steps == [10, 20, 30, 40, 50, *BLOCKS[3:]]


def test_a_process_that_is_really_killed_leaves_whole_lines(tmp_path):
  code = (
    'import sys; from wsjax.train.monitor import metrics_writer as metrics\n'
    'writer = metrics.Metrics(sys.argv[1], resume_step=int(sys.argv[2]))\n'
    'for step in range(int(sys.argv[2]) + 1, 10**9):\n'
    '  writer.write(step, {"loss": 1.0}, seconds=0.0)\n'
    '  if step % 100 == 0: print(step, flush=True)'
  )
  path, done = tmp_path / metrics_writer.NAME, 0
  for _ in range(3):
    words = [sys.executable, '-c', code, str(tmp_path), str(done)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
      saved = int(child.stdout.readline())
      child.stdout.readline()  # It goes on after what it saved.
      child.kill()
    steps = metrics_writer.read(path)['step']
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > saved
    done = saved
  metrics_writer.Metrics(tmp_path, resume_step=done).close()
  assert metrics_writer.read(path)['step'] == list(range(1, done + 1))


def test_a_line_has_step_time_seconds_and_the_values(tmp_path):
  with metrics_writer.Metrics(tmp_path / 'a' / 'b', resume_step=0) as writer:
    writer.write(10, {'loss': 0.25, 'val_loss': 2}, seconds=1.5)
  (line,) = (tmp_path / 'a' / 'b' / metrics_writer.NAME).read_text().splitlines()
  row = strict(line)
  assert list(row) == ['step', 'time', 'seconds', 'loss', 'val_loss']
  assert row['time'] > 1.7e9
  del row['time']
  assert row == {'step': 10, 'seconds': 1.5, 'loss': 0.25, 'val_loss': 2.0}


def test_numbers_that_json_lacks_are_strings_and_come_back(tmp_path):
  values = {'a': math.nan, 'b': math.inf, 'c': -math.inf}
  with metrics_writer.Metrics(tmp_path, resume_step=0) as writer:
    writer.write(1, values, seconds=0.0)
  path = tmp_path / metrics_writer.NAME
  row = strict(path.read_text())
  assert [row[name] for name in 'abc'] == ['nan', 'inf', '-inf']
  columns = metrics_writer.read(path)
  assert math.isnan(columns['a'][0])
  assert columns['b'] == [math.inf] and columns['c'] == [-math.inf]
  with pytest.raises(ValueError, match='NaN is not JSON'):  # The check checks.
    strict(json.dumps(values))


def test_a_name_that_a_line_lacks_is_none(tmp_path):
  with metrics_writer.Metrics(tmp_path, resume_step=0) as writer:
    writer.write(1, {'loss': 1.0}, seconds=0.0)
    writer.write(2, {'loss': 2.0, 'val_loss': 3.0}, seconds=0.0)
  columns = metrics_writer.read(tmp_path / metrics_writer.NAME)
  assert columns['loss'] == [1.0, 2.0] and columns['val_loss'] == [None, 3.0]


def test_a_line_that_lacks_only_its_end_is_kept(tmp_path):
  path = tmp_path / metrics_writer.NAME
  train(tmp_path, 0, 20)
  path.write_bytes(path.read_bytes()[:-1])
  assert metrics_writer.read(path)['step'] == [10, 20]
  train(tmp_path, 20, 30)
  assert metrics_writer.read(path)['step'] == [10, 20, 30]


def test_a_damaged_file_is_set_aside_and_what_can_be_read_stays(tmp_path, caplog):
  train(tmp_path, 0, 30)
  path = tmp_path / metrics_writer.NAME
  for bad in (b'{"step": 2', b'[]', b'{"step": "2"}', b'{"step": 5}', b'\xff'):
    train(tmp_path, 0, 30)
    lines = path.read_bytes().splitlines()
    lines[1] = bad
    path.write_bytes(b'\n'.join(lines) + b'\n')
    before = path.read_bytes()
    if b'5' not in bad:  # It is metrics, but not of a step after the one before.
      assert metrics_writer.read(path)['step'] == [10, 30]
      assert f'Lines [2] of {path} are no metrics' in caplog.text
    metrics_writer.Metrics(tmp_path, resume_step=30).close()
    assert metrics_writer.read(path)['step'] == [10, 30]
    assert (tmp_path / 'metrics.jsonl.corrupt').read_bytes() == before
    (tmp_path / 'metrics.jsonl.corrupt').unlink()


def test_what_would_break_the_file_is_refused(tmp_path):
  with metrics_writer.Metrics(tmp_path, resume_step=0) as writer:
    writer.write(10, {}, seconds=0.0)
    with pytest.raises(ValueError, match='step 10 come after those of step 10'):
      writer.write(10, {}, seconds=0.0)
    with pytest.raises(ValueError, match="named 'time'"):
      writer.write(20, {'time': 1.0}, seconds=0.0)
  with metrics_writer.Metrics(tmp_path, resume_step=10) as writer:
    with pytest.raises(ValueError, match='after those of step 10'):
      writer.write(5, {}, seconds=0.0)
  assert metrics_writer.read(tmp_path / metrics_writer.NAME)['step'] == [10]


def test_a_process_that_does_not_write_touches_nothing(tmp_path):
  train(tmp_path, 0, 30)
  path = tmp_path / metrics_writer.NAME
  before = path.stat().st_mtime_ns, path.read_bytes()
  with metrics_writer.Metrics(tmp_path, resume_step=0, tensorboard=True, enabled=False) as writer:
    writer.write(10, {'loss': 1.0}, seconds=0.0)
  metrics_writer.Metrics(tmp_path / 'no', resume_step=0, enabled=False).close()
  assert (path.stat().st_mtime_ns, path.read_bytes()) == before
  assert os.listdir(tmp_path) == [metrics_writer.NAME]


def events(folder):
  """What the event files of a folder hold, oldest file first."""
  from tensorboardX.proto import event_pb2

  found = []
  for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime):
    data, at = path.read_bytes(), 0
    while at < len(data):  # Length, its checksum, the event, its checksum.
      (size,) = struct.unpack_from('<Q', data, at)
      found.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + size]))
      at += size + 16
  return found


def test_tensorboard_hides_the_steps_that_are_done_again(tmp_path):
  for begin, end in ((0, 30), (10, 20)):
    with metrics_writer.Metrics(tmp_path, resume_step=begin, tensorboard=True) as writer:
      for step in range(begin + 10, end + 10, 10):
        writer.write(step, {'loss': step / 2}, seconds=0.0)
  found = events(tmp_path / 'tensorboard')
  losses = [
    (event.step, value.simple_value)
    for event in found
    for value in event.summary.value
    if value.tag == 'loss'
  ]
  assert losses == [(10, 5.0), (20, 10.0), (30, 15.0), (20, 10.0)]
  starts = [e.step for e in found if e.session_log.status == e.session_log.START]
  assert starts == [1, 11]  # What TensorBoard throws away, and all after it.


def test_tensorboard_is_imported_only_when_asked_for(tmp_path):
  code = (
    'import sys; from wsjax.train.monitor import metrics_writer as metrics\n'
    'with metrics.Metrics(sys.argv[1], resume_step=0) as writer:\n'
    '  writer.write(1, {"loss": 1.0}, seconds=0.0)\n'
    'sys.exit(", ".join({"tensorboardX", "jax"} & set(sys.modules)) or 0)'
  )
  subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=True)


def test_the_variable_of_tensorboard_is_empty_0_or_1(monkeypatch):
  monkeypatch.delenv('WSJAX_TENSORBOARD', raising=False)
  assert metrics_writer.tensorboard_wanted() is False
  for value, want in (('', False), ('0', False), ('1', True)):
    monkeypatch.setenv('WSJAX_TENSORBOARD', value)
    assert metrics_writer.tensorboard_wanted() is want
  monkeypatch.setenv('WSJAX_TENSORBOARD', 'true')
  with pytest.raises(ValueError, match="is 'true'; allowed: empty, 0 or 1"):
    metrics_writer.tensorboard_wanted()
