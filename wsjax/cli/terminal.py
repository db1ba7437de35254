"""What the sub-commands write to: one console, wide enough for the tables."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from rich import console as rich_console


def console() -> 'rich_console.Console':
  """A console; into a pipe or a file it writes lines of up to 100 columns."""
  from rich import console as rich_console

  width = None if sys.stdout.isatty() else 100
  return rich_console.Console(width=width, highlight=False)


def show_line(line: object) -> None:
  """Writes a line, such as a path, that is never broken."""
  console().print(str(line), soft_wrap=True, markup=False)


def show_report(report: Any) -> None:
  """Prints the tables of a report, its findings and its notes."""
  from wsjax.evaluation.report import model, terminal
  from wsjax.experiments import reports

  out = console()
  if not isinstance(report, model.Report):
    out.print(reports.of(report).table(report))
    for note in report['notes']:
      show_line(note)
    return
  for table in terminal.tables(report, out.width):
    out.print(table)
  for line in terminal.lines(report):
    show_line(line)
