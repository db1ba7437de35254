"""The argument parser of all commands: what is wrong becomes an error."""

import argparse


class Parser(argparse.ArgumentParser):
  """An argument parser that raises instead of printing its usage."""

  def error(self, message: str) -> None:
    """Raises ValueError with what is wrong and where to read more."""
    raise ValueError(f'{message}; see {self.prog} --help.')
