"""What a person sees of training: a bar, the loss, the rate, the time left."""

from rich import progress as rich_progress


class Bar:
  """A progress bar; a context.

  Args:
    steps: of the whole run.
    done: before it starts.
    show: False shows nothing.
  """

  def __init__(self, steps: int, done: int, show: bool):
    self._bar = rich_progress.Progress(
      rich_progress.TextColumn('train'),
      rich_progress.BarColumn(),
      rich_progress.MofNCompleteColumn(),
      rich_progress.TimeRemainingColumn(),
      rich_progress.TextColumn('{task.fields[note]}'),
      disable=not show,
    )
    self._task = self._bar.add_task('train', total=steps, note='')
    self._bar.update(self._task, completed=done)

  def __enter__(self) -> 'Bar':
    self._bar.start()
    return self

  def __exit__(self, *_) -> None:
    self._bar.stop()

  def update(self, done: int, loss: float) -> None:
    """Shows the number of updates and the loss of the last block."""
    rate = self._bar.tasks[0].finished_speed or self._bar.tasks[0].speed or 0
    note = f'loss {loss:.4g}, {rate:.0f} steps/s'
    self._bar.update(self._task, completed=done, note=note)
