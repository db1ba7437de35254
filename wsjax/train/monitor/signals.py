"""SIGTERM and SIGINT end a run between two blocks, not within one."""

import signal
import threading

from wsjax import distributed


class Interrupted(Exception):
  """Training stopped on a signal, with a checkpoint at `step`.

  Attributes:
    step: updates so far.
    signal: number of the signal.
  """

  def __init__(self, step: int, signal: int):
    super().__init__(f'stopped by signal {signal}; saved at step {step}')
    self.step = step
    self.signal = signal


class Signals:
  """Remembers SIGTERM and SIGINT while it is entered.

  A Ctrl-C after another signal raises KeyboardInterrupt at once. SIGTERM may come twice, from a
  scheduler and from a launcher, and still waits.
  """

  def __init__(self):
    self._received = 0
    self._before = {}

  def received(self) -> int:
    """Number of the signal that any process of the run got; 0 is none.

    All processes must call this at the same step, so that they save and stop there together.
    """
    return distributed.largest(self._received)

  def __enter__(self) -> 'Signals':
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._receive)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, _) -> None:
    if self._received and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._received = self._received or number
