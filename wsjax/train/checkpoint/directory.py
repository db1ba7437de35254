"""The folder of checkpoints: what process 0 does to it, and errors to read."""

import errno
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable

from absl import logging

from wsjax import distributed

# What orbax calls a checkpoint that is not finished.
_UNFINISHED = '*.orbax-checkpoint-tmp*'
# Errors of memory, a disk, a network or a limit, which say nothing of the file.
_PASSING = (
  errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EMFILE,
  errno.ENFILE, errno.EACCES, errno.EPERM,
)  # fmt: skip
_PASSING_WORDS = (
  'RESOURCE_EXHAUSTED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'PERMISSION_DENIED',
  'Permission denied', 'PermissionError',
)  # fmt: skip


def prepare(path: pathlib.Path) -> None:
  """Makes a folder ready for checkpoints, and rid of unfinished ones.

  Args:
    path: created if it does not exist.

  Raises:
    OSError: on every process, if nothing can be written there.
  """
  _on_writer(lambda: _prepare(path), f'Checkpoints cannot be written to {path}')


def steps(path: pathlib.Path) -> list[int]:
  """Numbers of the checkpoints in a folder, ascending; none if there is no folder."""
  return sorted(int(file.name) for file in path.glob('*') if file.name.isdecimal())


def set_aside(path: pathlib.Path, step: int, why: str) -> None:
  """Renames a damaged checkpoint; it is never deleted.

  Args:
    path: the folder of checkpoints.
    step: of the damaged one.
    why: what is wrong with it.

  Raises:
    OSError: on every process, if it cannot be renamed.
  """
  _on_writer(
    lambda: _set_aside(path, step, why),
    f'Checkpoint {step} in {path} is damaged ({why}) and cannot be set aside',
  )


def failed_save(path: pathlib.Path, step: int, error: Exception | None) -> OSError:
  """Says what failed, what is left, and what to do.

  Args:
    path: the folder of checkpoints.
    step: that could not be written.
    error: what was raised here; None if it was in another process.

  Returns:
    What to raise.
  """
  kept = steps(path)
  if kept:
    numbers = ', '.join(map(str, kept))
    left = f'Older checkpoints ({numbers}) are intact'
    onwards = f'goes on from step {kept[-1]}'
  else:
    left, onwards = 'There is no older checkpoint', 'begins anew'
  return OSError(
    f'Checkpoint {step} could not be written to {path}: {first_line(error)}. '
    f'{left}. Free space there or make it writable, then start the run again: '
    f'it {onwards}.'
  )


def is_passing(error: Exception | None) -> bool:
  """Whether an error in reading may be gone in the next try."""
  return (
    isinstance(error, MemoryError | PermissionError)
    or getattr(error, 'errno', None) in _PASSING
    or any(word in str(error) for word in _PASSING_WORDS)
  )


def first_line(error: Exception | None) -> str:
  """What an error says, in short; None is of another process."""
  if error is None:
    return 'another process failed'
  # That the others came too late is what followed, not what happened.
  while 'Barrier timed out' in str(error) and error.__context__ is not None:
    error = error.__context__
  line = (str(error).strip() or repr(error)).splitlines()[0]
  # TensorStore wraps the cause in the paths of files, and adds its own sources.
  line = re.split(r' \[(?:os_error|source)', line)[0].rstrip('.')
  return line if len(line) <= 300 else f'{line[:100]} ... {line[-200:]}'


def _on_writer(action: Callable[[], None], problem: str) -> None:
  """Does something in process 0; if it fails, all processes raise."""
  error = None
  if distributed.is_writer():
    try:
      action()
    except OSError as caught:
      error = caught
  if distributed.largest(int(error is not None)):
    raise OSError(f'{problem}: {first_line(error)}.') from error


def _prepare(path: pathlib.Path) -> None:
  path.mkdir(parents=True, exist_ok=True)
  # Permission bits do not tell: of root, of network disks and of full ones.
  with tempfile.TemporaryFile(dir=path) as file:
    file.write(b'written')
    file.flush()
  unfinished = sorted(path.glob(_UNFINISHED))
  for folder in unfinished:
    shutil.rmtree(folder)
  if unfinished:
    logging.warning(
      'Removed %d unfinished checkpoints from %s, whose saves were cut off: %s.',
      len(unfinished),
      path,
      ', '.join(folder.name for folder in unfinished),
    )


def _set_aside(path: pathlib.Path, step: int, why: str) -> None:
  aside, count = path / f'{step}.corrupt', 1
  while aside.exists():
    aside, count = path / f'{step}.corrupt{count}', count + 1
  logging.warning(
    'Checkpoint %d in %s is damaged (%s); it is kept as %s and another one is used.',
    step,
    path,
    why,
    aside.name,
  )
  (path / str(step)).rename(aside)
