"""Breed or open a zoo, fit generators, sample, judge, write the report.

  wsjax run --config configs/digits_flow.py --workdir runs/demo

Started again, it goes on where it stopped. --config.train.steps=100 changes a
field of the config.
"""

import argparse
import pathlib

from wsjax.cli import configs, terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  configs.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Runs the experiment and prints its table and the path of its report."""
  config, overrides = configs.load(args.config, args.overrides)

  from wsjax import experiment
  from wsjax.evaluate import reports

  result = experiment.run(config, args.workdir, overrides=overrides)
  terminal.console().print(reports.of(result).table(result))
  terminal.show_line(pathlib.Path(args.workdir) / 'report.html')
  return 0
