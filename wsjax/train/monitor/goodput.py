"""Goodput: the share of wall time that went into steps that count.

A training appends its events to a log that outlives restarts, one line of JSON each. `summary` says
from the log where the time went.
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from wsjax import files

# The reason of a stop after which nobody waits for another process.
DONE = 'done'
# What each kind of event says, besides its process and its time.
_FIELDS = {'start': ('step',), 'save': ('seconds',), 'restore': ('seconds',)}
_FIELDS |= {'block': ('first', 'last', 'seconds', 'compiled'), 'stop': ('step', 'reason')}
# What each field may be.
_KINDS = {
  **dict.fromkeys(('process', 'reason'), lambda value: isinstance(value, str)),
  'compiled': lambda value: isinstance(value, bool),
  **dict.fromkeys(('step', 'first', 'last'), lambda v: type(v) is int and 0 <= v < 1 << 53),
  **dict.fromkeys(('time', 'seconds'), lambda v: type(v) in (int, float) and 0 <= v < 1e12),
}
_TIMED = ('block', 'save', 'restore')

Event = Mapping[str, Any]


class Recorder(contextlib.AbstractContextManager):
  """Appends the events of one process to a log; use it as a context.

  Every event is written when it is over, so what a killed process was doing is not in the log.
  """

  def __init__(self, path: pathlib.Path | str, *, enabled: bool = True):
    """Opens or makes the log; if not enabled, as for all processes but one, nothing is written."""
    self._file = None
    if not enabled:
      return
    # Unix time between processes, but a clock that nobody sets within one.
    self._opened, self._clock = time.time(), time.monotonic()
    self._process = f'{time.time_ns():x}-{os.getpid()}'
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = files.update(path)
    if end := self._file.seek(0, os.SEEK_END):
      # The process before may have been killed in the middle of a line.
      self._file.seek(end - 1)
      if self._file.read() != b'\n':
        self._file.write(b'\n')

  def __exit__(self, *_) -> None:
    self.close()

  def start(self, step: int) -> None:
    """Training starts, or goes on, with `step` updates done."""
    self._write('start', step=int(step))

  def block(self, first: int, last: int, *, seconds: float, compiled: bool) -> None:
    """A block is done: updates before and after it, wall time, whether it compiled.

    Raises:
      ValueError: if there is no step in the block, or the time is negative.
    """
    if not first < last:
      raise ValueError(f'A block of steps {first} to {last} has no step.')
    steps = {'first': int(first), 'last': int(last)}
    self._write('block', **steps, seconds=seconds, compiled=bool(compiled))

  def save(self, seconds: float) -> None:
    """Training waited for a checkpoint to be saved."""
    self._write('save', seconds=seconds)

  def restore(self, seconds: float) -> None:
    """Training waited for a checkpoint to be restored; may precede `start`."""
    self._write('restore', seconds=seconds)

  def stop(self, step: int, reason: str) -> None:
    """Training ends after `step` updates: `DONE`, or such as 'SIGTERM'."""
    self._write('stop', step=int(step), reason=str(reason))

  def close(self) -> None:
    """Closes the log; may be called twice."""
    if self._file is not None:
      self._file.close()
      self._file = None

  def _write(self, event: str, **fields: Any) -> None:
    if self._file is None:
      return
    if 'seconds' in fields:
      fields['seconds'] = float(fields['seconds'])
      if not 0 <= fields['seconds'] < math.inf:
        raise ValueError(f'{fields["seconds"]} seconds of a {event}; allowed: 0 and more.')
    now = self._opened + time.monotonic() - self._clock
    line = {'event': event, 'process': self._process, 'time': now, **fields}
    # One call: a process that is killed leaves at most one half line.
    self._file.write(json.dumps(line, allow_nan=False).encode() + b'\n')
    self._file.flush()


def read(path: pathlib.Path | str) -> list[dict[str, Any]]:
  """The events of a log, in order, also of a run that is going on.

  Lines that are no events are left out. Where a process can have been killed, at the end or before
  a line of another process, half a line is normal; elsewhere there is a warning.

  Raises:
    ValueError: if it is no regular file.
  """
  lines, broken = files.read_json_lines(path, is_valid=_is_event)
  places = [(line.number, line.value['process']) for line in lines]
  process, pending, damaged = None, [], []
  for number, owner in sorted([*places, *((number, None) for number in broken)]):
    if owner is None:
      pending.append(number)
      continue
    if owner == process:
      damaged += pending
    process, pending = owner, []
  if damaged:
    logging.warning('Lines %s of %s are no events and are left out.', damaged[:5], path)
  return [line.value for line in lines]


def summary(path: pathlib.Path | str) -> dict[str, float]:
  """`summarize` of the events of a log; raises as `read` does."""
  return summarize(read(path))


def summarize(events: Sequence[Event]) -> dict[str, float]:
  """Says where the wall time went.

  Args:
    events: in order, as `read` gives them.

  Returns:
    wall_seconds: from the first event to the last, without time after a stop that was `DONE`.
    useful_seconds, useful_steps: of the steps that count. A step that was lost and done again
      counts where it was done last.
    compile_seconds: what blocks that compiled, and the first of every process, took longer than as
      many steps take in the median of the others.
    save_seconds, restore_seconds: as they are in the events.
    repeated_seconds, repeated_steps: of the steps that were lost, since a later block began before.
    down_seconds: from the last event of a process to the first of the next; too high by what a
      process that was killed did since its last event.
    other_seconds: the rest of the wall time, such as validation.
    restarts: processes that followed one whose training was not `DONE`.
    kills: how many of them followed a process that did not log its stop.
    goodput: useful_seconds / wall_seconds, from 0 to 1; 0 without events.
  """
  processes: dict[str, list[Event]] = {}
  for event in events:
    processes.setdefault(event['process'], []).append(event)
  logs = list(processes.values())

  result = {
    **_of_steps(_compiling(logs)),
    'save_seconds': _seconds(events, 'save'),
    'restore_seconds': _seconds(events, 'restore'),
    **_of_restarts(logs),
    # What overlaps, or only rounding, makes no time negative.
    'other_seconds': sum(
      max(0.0, log[-1]['time'] - _begin(log) - _seconds(log, *_TIMED)) for log in logs
    ),
  }
  wall = sum(v for name, v in result.items() if name.endswith('_seconds'))
  goodput = min(1.0, result['useful_seconds'] / wall) if wall else 0.0
  return {'goodput': goodput, 'wall_seconds': wall, **result}


def describe(summary: Mapping[str, float]) -> str:
  """A summary in one line for people."""
  shown = {name: f'{value:.{1 if value < 9.95 else 0}f} s' for name, value in summary.items()}
  restarts, repeated = summary['restarts'], summary['repeated_steps']
  cost = (
    f'{restarts} restart{"s" * (restarts != 1)} cost {"about " * (summary["kills"] > 0)}'
    f'{shown["down_seconds"]} down and {repeated} repeated step{"s" * (repeated != 1)} '
    f'({shown["repeated_seconds"]})'
  )
  return (
    f'goodput {100 * summary["goodput"]:.0f} %: {shown["useful_seconds"]} of '
    f'{shown["wall_seconds"]} in useful steps; {cost if restarts else "no restarts"}'
  )


def _is_event(value: Any) -> bool:
  """Whether a value says all that an event has to, in numbers that can be added."""
  if not isinstance(value, dict) or not isinstance(value.get('event'), str):
    return False
  fields = _FIELDS.get(value['event'])
  return (
    fields is not None
    and all(_KINDS[name](value.get(name)) for name in ('process', 'time', *fields))
    and value.get('first', 0) < value.get('last', 1)
  )


def _compiling(logs: Sequence[Sequence[Event]]) -> list[tuple[Event, float]]:
  """The blocks of all processes in order, and how long each compiled."""
  blocks = []  # (block, seconds per step, whether it can have compiled)
  for log in logs:
    own = [event for event in log if event['event'] == 'block']
    for i, block in enumerate(own):
      pace = block['seconds'] / _steps(block)
      blocks.append((block, pace, block['compiled'] or i == 0))
  steady = [pace for _, pace, compiled in blocks if not compiled]
  # Of blocks that all can have compiled, their own median has to do.
  usual = statistics.median(steady or [pace for _, pace, _ in blocks] or [0.0])
  return [
    (block, max(0.0, pace - usual) * _steps(block) if compiled else 0.0)
    for block, pace, compiled in blocks
  ]


def _of_steps(blocks: Sequence[tuple[Event, float]]) -> dict[str, float]:
  """Which steps count, and the time of those and of the others."""
  result = {'useful_seconds': 0.0, 'useful_steps': 0, 'compile_seconds': 0.0}
  result |= {'repeated_seconds': 0.0, 'repeated_steps': 0}
  lowest = math.inf  # The first step of all later blocks.
  for block, compiling in reversed(blocks):
    kept = max(0, min(block['last'], lowest) - block['first'])
    lost = _steps(block) - kept
    lowest = min(lowest, block['first'])
    running = block['seconds'] - compiling
    result['compile_seconds'] += compiling
    for name, steps in (('useful', kept), ('repeated', lost)):
      result[f'{name}_steps'] += steps
      result[f'{name}_seconds'] += running * steps / _steps(block)
  return result


def _of_restarts(logs: Sequence[Sequence[Event]]) -> dict[str, float]:
  """Time between processes, and how many there were and why."""
  result = {'down_seconds': 0.0, 'restarts': 0, 'kills': 0}
  finished = False
  for log, following in itertools.pairwise(logs):
    reasons = [event['reason'] for event in log if event['event'] == 'stop']
    if reasons or any(event['event'] == 'block' for event in log):
      # Else it only read a training back that was as it is before.
      finished = reasons[-1:] == [DONE]
    if not finished:
      result['restarts'] += 1
      result['kills'] += not reasons
      result['down_seconds'] += max(0.0, _begin(following) - log[-1]['time'])
  return result


def _begin(log: Sequence[Event]) -> float:
  """When the first thing began that a process logged."""
  return min(event['time'] - event.get('seconds', 0.0) for event in log)


def _seconds(events: Sequence[Event], *kinds: str) -> float:
  """Seconds of all events of some kinds."""
  return sum((e['seconds'] for e in events if e['event'] in kinds), 0.0)


def _steps(block: Event) -> int:
  return block['last'] - block['first']
