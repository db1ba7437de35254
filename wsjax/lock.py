"""One writer per folder: a lock that the kernel releases when its process ends, however it ends.

The file names the process that holds it, for people to read; only the lock itself counts. (The
package filelock empties the file before it asks for the lock, and so loses that name.)
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator

from absl import logging

from wsjax import files

_NAME = '.lock'
# What a file system says that has no locks.
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@contextlib.contextmanager
def hold(workdir: pathlib.Path | str, *, wait: bool = False) -> Iterator[None]:
  """Holds a folder against other runs while the context lasts.

  The file '.lock' stays: to remove it could let two runs in, each with the lock of a file of that
  name. In a run of several processes only one calls this. A file system without locks gives a
  warning, and no protection.

  Args:
    workdir: created if it does not exist.
    wait: for another run to end, instead of an error.

  Raises:
    ValueError: if another run holds it, or a symbolic link has the name of the lock.
    OSError: if the file cannot be written.
  """
  path = pathlib.Path(workdir).absolute() / _NAME
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.update(path) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = f'Another run is writing to {path.parent}: {_holder(path)}.'
      if not wait:
        advice = 'Wait for it to end, stop it, or choose another folder.'
        raise ValueError(f'{holder} {advice}') from None
      logging.warning('%s Waiting for it to end.', holder)
      fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      if error.errno not in _UNSUPPORTED:
        raise
      text = 'The file system of %s has no locks (%s): another run may write there, too.'
      logging.warning(text, path.parent, error.strerror)
    # Only now: until the lock is ours, the text is that of its holder.
    file.truncate(0)
    now = datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds')
    holder = {'pid': os.getpid(), 'host': socket.gethostname(), 'since': now}
    file.write(json.dumps(holder).encode())
    file.flush()
    yield


def _holder(path: pathlib.Path) -> str:
  """Which process wrote the file; it may be about to."""
  try:
    holder = files.read_json(path, max_bytes=4096)
    return f'process {holder["pid"]} on {holder["host"]}, since {holder["since"]}'
  except (ValueError, OSError, KeyError, TypeError):
    return 'it has not said which process it is'
