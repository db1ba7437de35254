"""The program wsjax; signals count from its first instant."""

import contextlib
import os
import sys

from wsjax import signals


def main() -> int:
  """Runs the command line of this process; see `wsjax.cli.main`."""
  sys.unraisablehook = _show
  with signals.watch(last=True) as guard:
    try:
      try:
        guard.command = ' '.join(['wsjax', *sys.argv[1:]])  # Until it is parsed.
        from wsjax.cli import main as cli

        status = cli.main()
      finally:
        guard.seen = True
    except KeyboardInterrupt:  # Where the command line does not see it.
      status = guard.status
      guard.say()
    if guard.received:
      # No regular exit: that waits for threads, which may compute for long.
      for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
          stream.flush()
      os._exit(status)
  return status


def _show(lost: 'sys.UnraisableHookArgs') -> None:
  """Shows an error that nobody can catch, but those of reads of Orbax that outlive a failed one."""
  if str(lost.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(lost)


if __name__ == '__main__':
  sys.exit(main())
