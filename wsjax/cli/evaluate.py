"""Evaluate the networks of any zoo as samples, against a config's own zoo.

  wsjax evaluate --config configs/digits_flow.py --config.zoo.path=runs/x/zoo \\
    --workdir runs/samples --zoo samples

config.zoo.path is the zoo of a finished run; where it is empty, a zoo is trained in the workdir.
Networks that compute other functions or learned from other data than that zoo are refused.
"""

import argparse
import pathlib

from wsjax import terminal
from wsjax.cli import run as run_command
from wsjax.experiments import configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  run_command.add_config_arguments(parser)
  parser.add_argument('--zoo', required=True, metavar='ZOO', help='networks to evaluate')


def run(args: argparse.Namespace) -> int:
  """Evaluates and prints the table and the path of the report."""
  config, _ = configs.load(args.config, args.overrides)

  from wsjax import pipeline
  from wsjax.evaluation.report import terminal as report_terminal

  result = pipeline.evaluate_zoo(config, args.workdir, args.zoo)
  report_terminal.show(result)
  terminal.show_line(pathlib.Path(args.workdir) / 'report.html')
  return 0
