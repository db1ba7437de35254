"""The steps that were asked for are in a trace, and nothing else happens."""

import jax
import jax.numpy as jnp
import pytest

from wsjax.train.monitor import profile


class Profiler:
  """Stands for the profiler of JAX; remembers what was asked of it."""

  def __init__(self, monkeypatch):
    self.calls = []
    monkeypatch.setattr(jax.profiler, 'start_trace', self._start)
    monkeypatch.setattr(jax.profiler, 'stop_trace', self._stop)

  def _start(self, folder):
    self.calls.append('start')

  def _stop(self):
    self.calls.append('stop')


@pytest.fixture
def profiler(monkeypatch):
  return Profiler(monkeypatch)


def captured(profiler, capture, *, begin=0, end=60, size=10):
  """Trains in blocks; gives the steps of which the trace ran."""
  found = []
  for step in range(begin, end, size):
    capture.before(step, size)
    if profiler.calls[-1:] == ['start']:
      found += range(step, step + size)
    capture.after(step + size)
  return found


@pytest.mark.parametrize(
  'wanted, blocks',
  [
    ('20:30', range(20, 30)),
    ('25:26', range(20, 30)),
    ('29:31', range(20, 40)),
    ('0:1', range(10)),
    ('55:999', range(50, 60)),
    ('60:70', ()),
  ],
)
def test_a_trace_is_of_the_blocks_that_cover_the_steps(wanted, blocks, profiler, tmp_path, caplog):
  with profile.Capture(tmp_path, profile.parse(wanted)) as capture:
    assert captured(profiler, capture) == list(blocks)
  assert profiler.calls == (['start', 'stop'] if blocks else [])
  assert caplog.text.count('The trace is in') == bool(blocks)
  assert caplog.text.count('Nothing was profiled') == (not blocks)


def test_a_process_that_goes_on_after_the_steps_says_it_has_no_trace(profiler, tmp_path, caplog):
  with profile.Capture(tmp_path, range(5, 20)) as capture:
    assert captured(profiler, capture, begin=20) == []
  assert 'no block with a step in 5:20' in caplog.text


def test_without_a_length_a_block_counts_by_its_first_step(profiler, tmp_path):
  capture = profile.Capture(tmp_path, range(5, 20))
  capture.before(0, 1)
  assert profiler.calls == []
  capture.before(10, 1)
  assert profiler.calls == ['start']


def test_an_exception_stops_the_trace_and_is_not_hidden(profiler, tmp_path):
  with pytest.raises(KeyError, match='in a block'):
    with profile.Capture(tmp_path, range(99)) as capture:
      capture.before(0, 10)
      raise KeyError('in a block')
  capture.close()
  assert profiler.calls == ['start', 'stop']


@pytest.mark.parametrize(
  'text', ['7', '7:', ':7', '7:7', '9:7', '-1:7', '1.5:7', '1:2:3', ' 1:2', '²:9']
)
def test_anything_but_two_growing_steps_is_refused(text):
  with pytest.raises(ValueError, match='is .*, not START:STOP; allowed are'):
    profile.parse(text)


def test_a_capture_writes_a_trace_and_says_where(tmp_path, caplog):
  with profile.Capture(tmp_path, range(1)) as capture:
    capture.before(0, 1)
    jax.jit(lambda x: x @ x)(jnp.ones((8, 8))).block_until_ready()
    capture.after(1)
  for name in ('*.xplane.pb', '*.trace.json.gz'):
    (file,) = (tmp_path / 'profile').rglob(name)
    assert file.stat().st_size
  assert str(tmp_path / 'profile') in caplog.text
  assert 'ui.perfetto.dev' in caplog.text and 'xprof' in caplog.text
