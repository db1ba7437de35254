"""SIGTERM and Ctrl-C end a program within seconds, wherever it is.

An exception that a signal handler raises is lost where the interrupted frame swallows it: in a
callback of garbage collection, a `__del__`, the import of an extension. So the handler remembers
the signal and raises again until the program has seen it. Python runs no handler while native code
computes, so a thread ends the process when that takes too long. The files of a run are at every
instant such that the same command goes on.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Seconds from a signal to the end of the process, and between two attempts to raise.
GRACE = 3.0
REPEAT = 0.1
_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]): sys.exit(75)  # It was quicker.
os.execvp(sys.argv[2], sys.argv[2:])
"""
_NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGHUP: 'SIGHUP', signal.SIGTERM: 'SIGTERM'}


class Terminated(KeyboardInterrupt):
  """SIGTERM or SIGHUP arrived."""


class Guard:
  """The signals that a program has got.

  Attributes:
    received: number of the first one; 0 is none.
    waits: whether the program looks at `received` and ends by itself, so that nothing is raised and
      the process is not ended. A second Ctrl-C does not wait.
    seen: whether the program knows, and ends.
    command: command line that continues a stopped program.
  """

  def __init__(self):
    self.received = 0
    self.waits = False
    self.seen = False
    self.command = ''
    self._said = self._handled = False

  @property
  def status(self) -> int:
    """Exit status: 130 for Ctrl-C and 75, to be tried again, for the others."""
    return 130 if self.received == signal.SIGINT else 75

  def say(self) -> None:
    """Writes once that the program was stopped, and what goes on from here."""
    if self.received and not self._said:
      self._said = True
      name = _NAMES[self.received]
      said = f'wsjax: stopped by {name}; the same command goes on from here: {self.command}\n'
      with contextlib.suppress(OSError):
        os.write(2, said.encode(errors='replace'))

  def handle(self, number: int, frame: FrameType | None) -> None:
    """Remembers a signal, and raises KeyboardInterrupt where that is safe."""
    again = self._handled and number == signal.SIGINT
    if number != signal.SIGALRM:
      self._handled = True
      self.received = self.received or number
    if self.seen or (self.waits and not again):
      return
    self._repeat()
    if not _is_importing(frame) and not _is_unwinding():
      raise KeyboardInterrupt if self.received == signal.SIGINT else Terminated

  def wait(self, waits: bool) -> None:
    """Sets `waits` in a loop that `polled` guards; without `watch` it always waits."""
    self.waits = waits or _active is not self
    if self.received and not self.waits:
      self._repeat()

  def _repeat(self) -> None:
    """Raises a little later what may not have been raised, or may be lost."""
    if _active is self:
      signal.setitimer(signal.ITIMER_REAL, REPEAT)

  def end_late(self, pipe: int) -> None:
    """Ends the process if it does not end itself; runs in a thread of its own.

    The pipe gives the number of every signal, and 0 when the guard is over.
    """
    deadline, hurry = None, False
    while True:
      readable, _, _ = select.select([pipe], [], [], None if deadline is None else REPEAT)
      numbers = os.read(pipe, 4096) if readable else b''
      if 0 in numbers:
        return
      for number in NUMBERS:
        if number in numbers:
          if deadline is not None and number == signal.SIGINT:
            # A user who asks twice does not want to wait.
            hurry, deadline = True, time.monotonic() + (GRACE if self.waits else 0)
          self.received = self.received or number
          deadline = deadline or time.monotonic() + GRACE
      if deadline is None:
        continue
      if self.waits and not hurry:
        deadline = time.monotonic() + GRACE
      if time.monotonic() > deadline:
        self.say()
        os._exit(self.status)


_active: Guard | None = None


@contextlib.contextmanager
def watch(*, last: bool = False) -> Iterator[Guard]:
  """Guards a program while the context lasts; within another guard, or a thread, that one goes on.

  A signal that the program was started to ignore, as under nohup, stays ignored. The program sets
  `seen` of the guard when it has caught the exception.

  Args:
    last: whether the program has nothing to do after the context, so that signals do not matter.
  """
  global _active
  if _active is not None or threading.current_thread() is not threading.main_thread():
    yield _active or Guard()
    return
  guard = _active = Guard()
  read, write = os.pipe()
  os.set_blocking(write, False)
  thread = threading.Thread(target=guard.end_late, args=(read,), daemon=True)
  thread.start()
  old_fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  before = _install(guard, (*NUMBERS, signal.SIGALRM))
  hook = sys.unraisablehook
  # The exception of a signal that a callback swallowed is not shown.
  sys.unraisablehook = lambda lost: isinstance(lost.exc_value, KeyboardInterrupt) or hook(lost)
  try:
    yield guard
  finally:
    _active = None
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
      signal.signal(number, signal.SIG_IGN if last else handler)
    signal.set_wakeup_fd(old_fd)
    sys.unraisablehook = hook
    os.write(write, b'\0')
    thread.join()
    os.close(read)
    os.close(write)


@contextlib.contextmanager
def polled() -> Iterator[Guard]:
  """Lets a loop end by itself: it looks at `received` of what is yielded.

  Within `watch` that is its guard. Elsewhere SIGTERM and SIGINT are remembered while the context
  lasts, and raised at its end if the loop did not end for them.
  """
  guard, before = _active or Guard(), {}
  was, guard.waits = guard.waits, True
  if _active is None and threading.current_thread() is threading.main_thread():
    before = _install(guard, (signal.SIGTERM, signal.SIGINT))
  try:
    yield guard
  finally:
    guard.waits = was
    for number, handler in before.items():
      signal.signal(number, handler)
    if guard.received and guard is _active:
      guard.wait(was)
    elif guard.received and sys.exc_info()[1] is None:
      signal.raise_signal(guard.received)


def tethered(words: Sequence[str]) -> list[str]:
  """A command that gets SIGTERM when this process ends, even by SIGKILL.

  Another program sets that up and becomes the command, since to run code between fork and exec is
  not safe beside the threads of JAX. Where the system is not Linux, nothing is added.
  """
  if sys.platform != 'linux':
    return list(words)
  return [sys.executable, '-I', '-S', '-c', _TETHER, str(os.getpid()), *words]


def _install(guard: Guard, numbers: tuple[int, ...]) -> dict[int, object]:
  """Makes a guard the handler of signals; gives the handlers before it."""
  numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
  return {number: signal.signal(number, guard.handle) for number in numbers}


def _is_importing(frame: FrameType | None) -> bool:
  """Whether a module is being imported, which extensions do not survive."""
  while frame is not None:
    if frame.f_code.co_filename.startswith('<frozen importlib'):
      return True
    frame = frame.f_back
  return False


def _is_unwinding() -> bool:
  """Whether the exception of a signal is being handled, as in a `finally`."""
  error = sys.exc_info()[1]
  while error is not None:
    if isinstance(error, KeyboardInterrupt):
      return True
    error = error.__context__
  return False
