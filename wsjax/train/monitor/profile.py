"""Captures some steps of training with the profiler of JAX.

WSJAX_PROFILE='100:110' asks for the steps from 100 to 109, counted from 0; the blocks that have a
part in them are captured as a whole.
"""

import contextlib
import pathlib
import re

from absl import logging

VARIABLE = 'WSJAX_PROFILE'


def parse(text: str, *, name: str = VARIABLE) -> range:
  """Reads the steps START:STOP, such as '100:110'; `name` is that of the setting, for errors.

  Raises:
    ValueError: if the text is anything else, or no step is between them.
  """
  match = re.fullmatch('([0-9]+):([0-9]+)', text)
  if match is None or int(match[1]) >= int(match[2]):
    raise ValueError(
      f'{name} is {text!r}, not START:STOP; allowed are two steps with START < STOP, such as '
      '100:110.'
    )
  return range(int(match[1]), int(match[2]))


class Capture(contextlib.AbstractContextManager):
  """Starts and stops the profiler around blocks of steps; use as a context.

  There is one trace per process at most, in `folder/profile`, from the first block that has a part
  in the wanted steps to the last, or to the end of the context.
  """

  def __init__(self, folder: pathlib.Path | str, steps: range):
    """Args: steps: those that are captured."""
    self._folder = pathlib.Path(folder).absolute() / 'profile'
    self._steps: range | None = steps
    self._running = False

  def __exit__(self, *_) -> None:
    self.close()

  def before(self, step: int, count: int) -> None:
    """Starts the trace if the block of `count` steps after `step` updates has wanted steps."""
    if self._steps is None or self._running:
      return
    if step < self._steps.stop and step + count > self._steps.start:
      # The command line checks the variable before JAX is wanted.
      import jax

      jax.profiler.start_trace(str(self._folder))
      self._running = True

  def after(self, step: int) -> None:
    """Stops the trace if the wanted steps are done after `step` updates.

    The results of the block have to be there: what is still being computed is not in the trace.
    """
    if self._running and step >= self._steps.stop:
      self._stop()

  def close(self) -> None:
    """Stops a trace that is still going on; may be called twice."""
    if self._running:
      self._stop()
    elif self._steps is not None:
      message = 'Nothing was profiled: this process trained no block with a step in %d:%d.'
      logging.warning(message, self._steps.start, self._steps.stop)
      self._steps = None

  def _stop(self) -> None:
    import jax

    # First, so that an error in stopping is not met by a second try.
    self._running, self._steps = False, None
    jax.profiler.stop_trace()
    # A warning, since information is not shown unless one asks for it.
    logging.warning(
      'The trace is in %s. Open the newest *.trace.json.gz in it at https://ui.perfetto.dev, or '
      f'run `tensorboard --logdir {self._folder}` with the package xprof installed.',
      self._folder,
    )
