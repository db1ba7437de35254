"""Print the table of a finished run and render its page again.

wsjax report --workdir runs/demo
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('--workdir', required=True, metavar='DIR', help='holds report.json')


def run(args: argparse.Namespace) -> int:
  """Renders report.html from report.json."""
  from absl import logging

  from wsjax import files
  from wsjax.evaluation.report import html, model
  from wsjax.evaluation.report import terminal as report_terminal

  workdir = files.folder(args.workdir, '--workdir')
  report = model.load(workdir)
  report_terminal.show(report)
  try:
    terminal.show_line(report.write(workdir, html.page))
  except PermissionError as error:  # Results that are shared may be read-only.
    logging.warning('The page was not rendered again: %s.', error)
  return 0
