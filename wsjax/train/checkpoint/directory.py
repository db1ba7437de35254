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
_DISK, _LIMIT = (errno.EIO, errno.ESTALE), (errno.EMFILE, errno.ENFILE)
_PASSING = (*_DISK, *_LIMIT, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES, errno.EPERM)
_PASSING_WORDS = re.compile(
  'RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|Permission denied'
  '|PermissionError'
)


def prepare(path: pathlib.Path) -> None:
  """Creates a folder of checkpoints, or removes unfinished ones from it.

  Raises:
    OSError: on every process, if nothing can be written there.
  """

  def action() -> None:
    path.mkdir(parents=True, exist_ok=True)
    # Permission bits do not tell: of root, of network disks and of full ones.
    with tempfile.TemporaryFile(dir=path) as file:
      file.write(b'written')
      file.flush()
    unfinished = sorted(path.glob(_UNFINISHED))
    for folder in unfinished:
      shutil.rmtree(folder)
    if unfinished:
      names = ', '.join(folder.name for folder in unfinished)
      message = 'Removed %d unfinished checkpoints from %s, whose saves were cut off: %s.'
      logging.warning(message, len(unfinished), path, names)

  _on_writer(action, f'Checkpoints cannot be written to {path}')


def steps(path: pathlib.Path) -> list[int]:
  """Numbers of the checkpoints in a folder, ascending; none if there is no folder."""
  return sorted(int(file.name) for file in path.glob('*') if file.name.isdecimal())


def set_aside(path: pathlib.Path, step: int, why: str) -> None:
  """Renames a checkpoint in a folder that is damaged, and says why; it is never deleted.

  Raises:
    OSError: on every process, if it cannot be renamed.
  """

  def action() -> None:
    aside, count = path / f'{step}.corrupt', 1
    while aside.exists():
      aside, count = path / f'{step}.corrupt{count}', count + 1
    message = 'Checkpoint %d in %s is damaged (%s); it is kept as %s and another one is used.'
    logging.warning(message, step, path, why, aside.name)
    (path / str(step)).rename(aside)

  _on_writer(action, f'Checkpoint {step} in {path} is damaged ({why}) and cannot be set aside')


def failed_save(path: pathlib.Path, step: int, error: Exception | None) -> OSError:
  """The error to raise for a step that could not be written to a folder: what is left, what to do.

  The cause is None if it was in another process.
  """
  left, onwards = 'There is no older checkpoint', 'begins anew'
  if kept := steps(path):
    left = f'Older checkpoints ({", ".join(map(str, kept))}) are intact'
    onwards = f'goes on from step {kept[-1]}'
  return OSError(
    f'Checkpoint {step} could not be written to {path}: {first_line(error)}. {left}. Free space '
    f'there or make it writable, then start the run again: it {onwards}.'
  )


def is_passing(error: Exception | None) -> bool:
  """Whether an error in reading may be gone in the next try."""
  return (
    isinstance(error, MemoryError | PermissionError)
    or getattr(error, 'errno', None) in _PASSING
    or _PASSING_WORDS.search(str(error)) is not None
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
