"""List the configs that come with wsjax, or copy them to a folder to change them.

  wsjax configs
  wsjax configs --copy DIR

A config of the list is named wsjax/NAME, as in `wsjax run --config wsjax/digits_flow`. Copies are
named by their path; the launch files for clusters are copied beside them, into DIR/launch.
"""

import argparse
import ast
import pathlib
import shutil

from wsjax import files, terminal
from wsjax.experiments import configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('--copy', metavar='DIR', help='copy configs and launch files to this folder')


def run(args: argparse.Namespace) -> int:
  """Lists the configs with the first line of their docstrings, or copies them."""
  if args.copy is not None:
    return _copy(files.folder(args.copy, '--copy'))
  names = configs.shipped()
  width = max(map(len, names))
  for name, path in names.items():
    text = ast.get_docstring(ast.parse(path.read_text())) or ''
    terminal.show_line(f'{name:{width}}  {text.partition(chr(10))[0]}')
  return 0


def _copy(folder: pathlib.Path) -> int:
  """Copies the folders `configs` and `launch` into a folder; nothing is overwritten."""
  targets = {source: folder / source.name for source in (configs.SHIPPED, configs.LAUNCH)}
  for target in targets.values():
    if target.exists():
      raise ValueError(f'{target} exists; name a folder without it, or remove it.')
  for source, target in targets.items():
    shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
    terminal.show_line(target)
  return 0
