"""Work beside the main thread: hashing, copying and linear algebra, which need no Python."""

from collections.abc import Callable
from concurrent import futures
from typing import Any


class Worker:
  """Runs functions one after another in a thread; a context, which waits for the last of them."""

  def __init__(self) -> None:
    self._executor = futures.ThreadPoolExecutor(1)
    self._last: futures.Future[None] | None = None

  def submit(self, function: Callable[..., None], *args: Any) -> None:
    """Runs a function when the one before it has ended, so that at most one is behind.

    Raises the error of the one before it.
    """
    self.wait()
    self._last = self._executor.submit(function, *args)

  def wait(self) -> None:
    """Returns when the last function has ended; raises its error."""
    if self._last is not None:
      self._last.result()

  def __enter__(self) -> 'Worker':
    return self

  def __exit__(self, *_: object) -> None:
    self._executor.shutdown()
