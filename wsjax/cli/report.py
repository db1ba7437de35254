"""Print the table of a finished run or sweep and render its page again.

wsjax report --workdir runs/demo
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument(
    '--workdir', required=True, metavar='DIR', help='holds report.json or sweep.json'
  )


def run(args: argparse.Namespace) -> int:
  """Renders report.html from report.json, or sweep.html from sweep.json."""
  from absl import logging

  from wsjax import files
  from wsjax.evaluation.report import html, model
  from wsjax.evaluation.report import terminal as report_terminal

  workdir = files.folder(args.workdir, '--workdir')
  names = [name for name in ('report', 'sweep') if (workdir / f'{name}.json').exists()]
  stem = (names or ['report'])[0]
  report = model.load(workdir, stem=stem)
  report_terminal.show(report)
  try:
    terminal.show_line(report.write(workdir, html.page, stem=stem))
  except PermissionError as error:  # Results that are shared may be read-only.
    logging.warning('The page was not rendered again: %s.', error)
  return 0
