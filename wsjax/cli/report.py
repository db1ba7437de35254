"""Print the table of a finished run and render its page again.

wsjax report --workdir runs/demo
"""

import argparse
from typing import Any

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('--workdir', required=True, metavar='DIR', help='holds report.json')


def run(args: argparse.Namespace) -> int:
  """Renders report.html from report.json."""
  from absl import logging

  from wsjax import files
  from wsjax.evaluation.report import html, model

  workdir = files.folder(args.workdir, '--workdir')
  report = model.load(workdir)
  show(report)
  try:
    terminal.show_line(report.write(workdir, html.page))
  except PermissionError as error:  # Results that are shared may be read-only.
    logging.warning('The page was not rendered again: %s.', error)
  return 0


def show(report: Any) -> None:
  """Prints the first table of a report, its findings and its notes."""
  from wsjax.evaluation.report import terminal as tables_lib

  out = terminal.console()
  first, *others = tables_lib.tables(report, out.width)
  out.print(first)
  if others:
    terminal.show_line(f'{len(others)} more in the page.')
  for line in tables_lib.lines(report):
    terminal.show_line(line)
