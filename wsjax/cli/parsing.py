"""The argument parser of all commands: what is wrong becomes an error."""

import argparse


class Parser(argparse.ArgumentParser):
  """An argument parser that raises instead of printing its usage."""

  def error(self, message: str) -> None:
    """Raises ValueError with what is wrong and where to read more."""
    raise ValueError(f'{message}; see {self.prog} --help.')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds --config and --workdir; overrides `--config.a.b=value` arrive as `args.overrides`."""
  parser.add_argument(
    '--config',
    required=True,
    metavar='FILE[:ARG]',
    help='config file; --config.a.b=VALUE changes one of its fields',
  )
  parser.add_argument('--workdir', required=True, metavar='DIR', help='where results go')
