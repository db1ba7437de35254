"""Measure speed side by side on this machine.

  python -m benchmarks train_zoo --out train_zoo.json

Each benchmark is a file of this directory; `python -m benchmarks NAME --help` lists its options.
"""

import ast
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from wsjax import files, terminal
from wsjax.cli import main as cli


def benches() -> dict[str, str]:
  """Name -> first line of every bench; the files are read, not imported."""
  folder = pathlib.Path(__file__).parent
  found = {}
  for file in sorted(folder.glob('*.py')):
    tree = ast.parse(file.read_text())
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    if {'add_arguments', 'run'} <= functions:
      found[file.stem] = (ast.get_docstring(tree) or file.stem).splitlines()[0]
  return found


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a benchmark, prints rows and notes, writes its result to --out."""
  words = list(sys.argv[1:] if argv is None else argv)
  parser = cli.Parser(prog='python -m benchmarks', description=__doc__)
  names = parser.add_subparsers(dest='name', required=True, metavar='name')
  for name, summary in benches().items():
    names.add_parser(name, help=summary, add_help=False)
  module = importlib.import_module(f'benchmarks.{parser.parse_args(words[:1]).name}')
  parser = cli.Parser(prog=f'python -m benchmarks {words[0]}', description=module.__doc__)
  parser.add_argument('--out', metavar='FILE', help='write the result as JSON')
  module.add_arguments(parser)
  options = parser.parse_args(words[1:])
  result = module.run(options)
  terminal.console().print(table(result, words[0]))
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


if __name__ == '__main__':
  try:
    sys.exit(main())
  except (ValueError, OSError) as error:
    sys.exit(f'benchmarks: {error}')
