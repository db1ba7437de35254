"""Train or open a zoo, fit generators, sample, evaluate, write the report.

  wsjax run --config configs/digits_flow.py --workdir runs/demo

Without the repository, name a config that `wsjax configs` lists, such as wsjax/digits_flow. Started
again, a run goes on where it stopped. --config.train.steps=100 changes a field of the config.
A config is Python code that is executed: run only configs of people whom you trust.
"""

import argparse
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from wsjax import terminal
from wsjax.experiments import configs


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds --config and --workdir; overrides `--config.a.b=value` arrive as `args.overrides`."""
  parser.add_argument(
    '--config',
    required=True,
    metavar='FILE[:ARG]',
    help='config file, or a name that `wsjax configs` lists; --config.a.b=VALUE changes a field',
  )
  parser.add_argument('--workdir', required=True, metavar='DIR', help='where results go')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  add_config_arguments(parser)
  parser.add_argument(
    '--profile',
    metavar='START:STOP',
    help='trace these steps of every training, counted from 0 and without '
    'STOP, into the folder profile beside its checkpoints; also '
    'WSJAX_PROFILE=START:STOP',
  )
  parser.add_argument(
    '--tensorboard',
    action='store_true',
    help='write the metrics of every training as TensorBoard events too, into '
    'the folder tensorboard beside its checkpoints; also WSJAX_TENSORBOARD=1',
  )


def run(args: argparse.Namespace) -> int:
  """Runs the experiment and prints its table and the path of its report."""
  profiled = _observe(args)
  config, overrides = configs.load(args.config, args.overrides)
  if profiled is not None:
    _check_profile(config.to_dict(), profiled)

  from wsjax import distributed, pipeline
  from wsjax.evaluation.report import terminal as report_terminal

  result = pipeline.run(config, args.workdir, overrides=overrides)
  if distributed.is_writer():
    report_terminal.show(result)
    terminal.show_line(pathlib.Path(args.workdir) / 'report.html')
  return 0


def _check_profile(config: Mapping[str, Any], steps: range) -> None:
  """Raises ValueError if no training of a config has the steps that are to be profiled."""
  longest = max(_steps({key: value for key, value in config.items() if key != 'zoo'}), default=0)
  if 0 < longest <= steps.start:
    raise ValueError(
      f'{steps.start}:{steps.stop} is to be profiled; the longest training has {longest} steps, '
      'counted from 0.'
    )


def _steps(section: Mapping[str, Any]) -> Iterator[int]:
  """Every field `steps` of a section and those within it."""
  for key, value in section.items():
    if isinstance(value, Mapping):
      yield from _steps(value)
    elif key == 'steps':
      yield value


def _observe(args: argparse.Namespace) -> range | None:
  """Sets the environment that training reads, and returns the steps that are to be profiled.

  Raises:
    ValueError: for what training would refuse, which reads it only after the zoo is built.
  """
  from wsjax.train.monitor import metrics_writer, profile

  if args.tensorboard:
    os.environ[metrics_writer.TENSORBOARD] = '1'
  metrics_writer.tensorboard_wanted()
  if args.profile is not None:
    steps = profile.parse(args.profile, name='--profile')
    os.environ[profile.VARIABLE] = args.profile
    return steps
  wanted = os.environ.get(profile.VARIABLE)
  return profile.parse(wanted) if wanted else None
