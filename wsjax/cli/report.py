"""Print the table of a finished run and render its page again.

wsjax report --workdir runs/demo
"""

import argparse

from wsjax.cli import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('--workdir', required=True, metavar='DIR', help='holds report.json')


def run(args: argparse.Namespace) -> int:
  """Renders report.html from report.json."""
  from absl import logging

  from wsjax import files
  from wsjax.experiments import reports

  workdir = files.folder(args.workdir, '--workdir')
  result = reports.load(workdir)
  terminal.show_report(result)
  try:
    terminal.show_line(reports.write(result, workdir))
  except PermissionError as error:  # Results that are shared may be read-only.
    logging.warning('The page is as it was: %s.', error)
  return 0
