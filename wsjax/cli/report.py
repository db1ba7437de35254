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
  from wsjax.experiments import reports

  result = reports.load(args.workdir)
  path = reports.write(result, args.workdir)
  terminal.show_report(result)
  terminal.show_line(path)
  return 0
