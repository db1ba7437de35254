"""Text for people: a console, progress, and foreign words without control characters."""

import logging as python_logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
  from rich import console as rich_console

_Item = TypeVar('_Item')

_PIPED_WIDTH = 100
# Seconds, and share of the whole, between two lines of progress that is no bar.
_SECONDS, _SHARE = 10.0, 0.1


def plain(text: object) -> str:
  """Text that can neither steer a terminal nor turn lines around, whoever wrote it.

  Control characters, such as ESC and those of C1, marks of direction and lone surrogates become
  U+FFFD; line ends stay.
  """
  return ''.join(
    c if c == '\n' or c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in str(text)
  )


def console(*, stderr: bool = False) -> 'rich_console.Console':
  """A console that shows words of others as they are spelled, by `plain` and without markup.

  Into a pipe or a file it writes lines of up to 100 columns.
  """
  from rich import console as rich_console

  class Console(rich_console.Console):
    def render(self, renderable: Any, options: Any = None) -> Any:
      for part in super().render(renderable, options):
        yield part if part.control else part._replace(text=plain(part.text))

    def on_broken_pipe(self) -> None:
      raise  # Rich would end the program with status 1.

  stream = sys.stderr if stderr else sys.stdout
  width = None if stream.isatty() else _PIPED_WIDTH
  return Console(width=width, highlight=False, markup=False, emoji=False, stderr=stderr)


def guard_logs() -> None:
  """Makes the log of this package show words of others by `plain`.

  What threads of Orbax add to an error that is reported is not shown.
  """
  from absl import logging

  python_logging.getLogger('asyncio').setLevel(python_logging.CRITICAL)

  def clean(record: Any) -> bool:
    record.msg, record.args = plain(record.getMessage()), ()
    return True

  logging.get_absl_logger().addFilter(clean)


def show_line(line: object) -> None:
  """Writes a line, such as a path, that is never broken."""
  console().print(str(line), soft_wrap=True)


class Progress:
  """Progress on standard error: a bar in a terminal, and else a line now and then; a context.

  `done` of `total` units of the work called `label` are done already; a note says what comes first.
  """

  def __init__(self, label: str, total: int, *, done: int = 0, note: str = '', show: bool = True):
    from rich import progress

    self._label, self._total, self._done, self._show = label, total, done, show
    self._started, self._first = time.monotonic(), done
    self._said = self._started, done
    self._is_bar = show and sys.stderr.isatty()
    self._bar = progress.Progress(
      progress.TextColumn(plain(label), markup=False),
      progress.BarColumn(),
      progress.MofNCompleteColumn(),
      progress.TimeElapsedColumn(),
      progress.TimeRemainingColumn(),
      progress.TextColumn('{task.fields[note]}', markup=False),
      console=console(stderr=True),
      disable=not self._is_bar,
    )
    self._task = self._bar.add_task(label, total=total, completed=done, note=note)
    self._note = note

  def __enter__(self) -> 'Progress':
    self._bar.start()
    if self._note and self._show and not self._is_bar:
      self._say(self._done, self._note)
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.stop()

  def update(self, done: int, note: str = '') -> None:
    """Shows how many units are done, and a note such as the loss."""
    now = time.monotonic()
    rate = (done - self._first) / max(now - self._started, 1e-9)
    note = ', '.join(filter(None, (note, f'{rate:.3g}/s')))
    self._done = done
    if self._is_bar:
      self._bar.update(self._task, completed=done, note=note)
      return
    at, before = self._said
    is_far = done - before >= _SHARE * self._total and now - at >= 1
    if self._show and (is_far or now - at >= _SECONDS):
      self._said = now, done
      left = (self._total - done) / rate if rate else 0.0
      self._say(done, note if left < 1 else f'{note}, {_duration(left)} left')

  def _say(self, done: int, note: str) -> None:
    share = f'{100 * done / max(self._total, 1):.0f} %'
    sys.stderr.write(f'{plain(self._label)}: {done} of {self._total} ({share}), {note}\n')

  def advance(self, count: int = 1) -> None:
    """Shows that `count` more units are done."""
    self.update(self._done + count)


def _duration(seconds: float) -> str:
  """Seconds as '45 s', '12 min' or '3.5 h'."""
  if seconds < 100:
    return f'{seconds:.0f} s'
  return f'{seconds / 60:.0f} min' if seconds < 6000 else f'{seconds / 3600:.1f} h'


def track(items: Sequence[_Item], label: str, *, show: bool = True) -> Iterator[_Item]:
  """Yields items, and shows as `Progress` how many are done."""
  with Progress(label, len(items), show=show) as bar:
    for item in items:
      yield item
      bar.advance()
