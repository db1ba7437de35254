"""Metrics of training, one line of JSON per block of steps.

A run that is killed does the steps after its newest checkpoint again. Their lines are dropped when
it opens the file, so the file has every step once, in order.
"""

import contextlib
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from absl import logging

from wsjax import files

NAME = 'metrics.jsonl'
TENSORBOARD = 'WSJAX_TENSORBOARD'
_OWN = ('step', 'time', 'seconds')


class Metrics(contextlib.AbstractContextManager):
  """Writes the metrics of one training run; use it as a context.

  Write a step before its checkpoint is saved, so that no checkpoint is ahead of the metrics.
  """

  def __init__(
    self, folder: pathlib.Path | str, *, resume_step: int, tensorboard=False, enabled=True
  ):
    """Opens `folder/metrics.jsonl`, and drops what will be done again.

    A file with lines that are no metrics is set aside, and what can be read of it is kept.

    Args:
      folder: made if it is not there.
      resume_step: updates done so far; lines of later steps and half lines are dropped.
      tensorboard: whether to write events to `folder/tensorboard` as well.
      enabled: if not, as for all processes of a run but one, nothing is read or written.

    Raises:
      ValueError: if the file is a symbolic link.
    """
    self._file = self._board = None
    if not enabled:
      return
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    self._last = _drop_after(path, resume_step)
    if tensorboard:
      self._board = _board(folder / 'tensorboard', resume_step)
    self._file = files.update(path)

  def __exit__(self, *_) -> None:
    self.close()

  def write(self, step: int, values: Mapping[str, float], *, seconds: float) -> None:
    """Appends the metrics of a block of steps.

    Args:
      step: updates done at its end.
      values: numbers by name; one that is not finite becomes the string 'nan', 'inf' or '-inf'.
      seconds: wall time of the block.

    Raises:
      ValueError: if the step is not after the one before, or a value is named as one in `_OWN`.
    """
    if self._file is None:
      return
    if step <= self._last:
      raise ValueError(
        f'Metrics of step {step} come after those of step {self._last}; every step has to be later '
        'than the one before.'
      )
    if taken := sorted(set(_OWN) & set(values)):
      raise ValueError(f'A metric is named {taken[0]!r}; {", ".join(_OWN)} are taken.')
    numbers = {name: float(value) for name, value in {'seconds': seconds, **values}.items()}
    line = {'step': int(step), 'time': time.time()}
    line |= {name: x if math.isfinite(x) else str(x) for name, x in numbers.items()}
    # One call: a process that is killed leaves at most one half line.
    self._file.write(json.dumps(line, allow_nan=False).encode() + b'\n')
    self._file.flush()
    self._last = int(step)
    if self._board is not None:
      for name, value in numbers.items():
        self._board.add_scalar(name, value, step)
      self._board.flush()

  def close(self) -> None:
    """Closes the files; may be called twice."""
    for file in (self._file, self._board):
      if file is not None:
        file.close()
    self._file = self._board = None


def read(path: pathlib.Path | str) -> dict[str, list]:
  """Reads a metrics.jsonl, also of a run that is going on.

  Returns:
    One column per name, one entry per line: None where a line lacks the name. Lines that are no
    metrics are left out, with a warning.

  Raises:
    ValueError: if it is no regular file.
  """
  lines, broken = files.read_json_lines(path, is_valid=_is_row)
  if broken:
    logging.warning('Lines %s of %s are no metrics and are left out.', broken[:5], path)
  rows = [line.value for line in lines]
  names = dict.fromkeys(name for row in rows for name in row)
  return {name: [_of_json(row.get(name)) for row in rows] for name in names}


def tensorboard_wanted() -> bool:
  """Whether WSJAX_TENSORBOARD asks for events; raises ValueError unless it is empty, 0 or 1."""
  value = os.environ.get(TENSORBOARD, '')
  if value not in ('', '0', '1'):
    raise ValueError(f'{TENSORBOARD} is {value!r}; allowed: empty, 0 or 1.')
  return value == '1'


def _drop_after(path: pathlib.Path, step: int) -> int:
  """Keeps the whole lines up to a step; gives the last step, -1 if none."""
  if not path.exists():
    return -1
  lines, broken = files.read_json_lines(path, is_valid=_is_row)
  kept, last, jumps = [], -1, []
  for line in lines:
    if last < line.value['step'] <= step:
      kept.append(line.text)
      last = line.value['step']
    elif line.value['step'] <= last:
      jumps.append(line.number)
  text = b''.join(line + b'\n' for line in kept)
  if broken or jumps:
    files.set_aside(path, f'lines {(broken + jumps)[:5]} are no metrics')
    files.replace(path, text)
  elif text != files.read_bytes(path):
    files.replace(path, text)
  return last


def _is_row(value: Any) -> bool:
  return isinstance(value, dict) and type(value.get('step')) is int and value['step'] >= 0


def _of_json(value: Any) -> Any:
  return float(value) if value in ('nan', 'inf', '-inf') else value


def _board(folder: pathlib.Path, resume_step: int) -> Any:
  """A writer of event files that hides the events of steps done again."""
  import tensorboardX  # Only who asks for it waits for it.

  # The name is otherwise of the second alone, and a quick restart would write over the file of the
  # process before it.
  suffix = f'.{time.time_ns():x}'
  return tensorboardX.SummaryWriter(str(folder), purge_step=resume_step + 1, filename_suffix=suffix)
