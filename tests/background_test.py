"""Work beside the main thread is done in order, and its errors are told."""

import pytest

from wsjax import background


def fail():
  raise OSError('the disk is full')


def test_functions_run_in_order_and_the_context_waits():
  done = []
  with background.Worker() as worker:
    for number in range(50):
      worker.submit(done.append, number)
  assert done == list(range(50))


def test_an_error_is_raised_by_what_follows():
  with background.Worker() as worker:
    worker.wait()
    worker.submit(fail)
    with pytest.raises(OSError, match='disk is full'):
      worker.submit(print)
    with pytest.raises(OSError, match='disk is full'):
      worker.wait()
