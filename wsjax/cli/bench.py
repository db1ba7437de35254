"""Measure speed side by side on this machine.

  wsjax bench breed --out breed.json

Each bench is a file of wsjax/bench; `wsjax bench NAME --help` lists its
options.
"""

import argparse
import ast
import importlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import wsjax
from wsjax import files
from wsjax.cli import parsing, terminal


def benches() -> dict[str, str]:
  """Name -> first line of every bench; the files are read, not imported."""
  folder = pathlib.Path(wsjax.__file__).parent / 'bench'
  found = {}
  for file in sorted(folder.glob('*.py')):
    tree = ast.parse(file.read_text())
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    if {'add_arguments', 'run'} <= functions:
      found[file.stem] = (ast.get_docstring(tree) or file.stem).splitlines()[0]
  return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds one sub-command per bench; it reads its own options when it runs."""
  names = parser.add_subparsers(dest='bench', required=True, metavar='name')
  for name, summary in benches().items():
    names.add_parser(name, help=summary, add_help=False, allow_abbrev=False)


def run(args: argparse.Namespace) -> int:
  """Runs a bench, prints rows and notes, writes its result to --out."""
  module = importlib.import_module(f'wsjax.bench.{args.bench}')
  parser = parsing.Parser(
    prog=f'wsjax bench {args.bench}', description=module.__doc__
  )
  parser.add_argument('--out', metavar='FILE', help='write the result as JSON')
  module.add_arguments(parser)
  options = parser.parse_args(args.rest)
  result = module.run(options)
  terminal.console().print(table(result, args.bench))
  for note in result.get('notes', ()):
    terminal.show_line(note)
  if options.out:
    text = json.dumps(result, indent=1, sort_keys=True, allow_nan=False)
    files.replace(pathlib.Path(options.out), text + '\n')
  return 0


def table(result: Mapping[str, Any], name: str) -> Any:
  """Rows of a bench as a table.

  Args:
    result: 'rows' holds one dict per row.
    name: title.

  Returns:
    A rich.table.Table.
  """
  from rich import box
  from rich import table as rich_table

  rows = result['rows']
  made = rich_table.Table(title=name, box=box.SIMPLE_HEAD)
  columns = [  # Lists, such as the seconds of every round, are for --out.
    key
    for key in dict.fromkeys(key for row in rows for key in row)
    if not any(isinstance(row.get(key), list) for row in rows)
  ]
  for column in columns:
    numbers = all(isinstance(row.get(column, 0), int | float) for row in rows)
    made.add_column(column, justify='right' if numbers else 'left')
  for row in rows:
    made.add_row(*(_text(row.get(column)) for column in columns))
  return made


def _text(value: Any) -> str:
  if value is None:
    return '-'
  return f'{value:.4g}' if isinstance(value, float) else str(value)
