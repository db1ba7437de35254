"""Tables of what is known about networks: CSV, JSON and JSON lines."""

import csv
import io
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wsjax import files

# Columns that may name the network of a row.
_KEYS = ('id', 'key', 'file', 'path', 'filename', 'checkpoint', 'name', 'run_id', 'run')
_NUMBER = re.compile(r'[+-]?[0-9]{1,15}|[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?')
_WORDS = {'true': True, 'false': False}
_NOTHING = {'', 'nan', 'none', 'null', 'n/a', 'na'}
_UNKNOWN = object()  # The value of a cell that says nothing.
_SUFFIX = re.compile(r'\.(safetensors|npz|pt|pth|bin|ckpt|onnx)$')


class Table:
  """Rows that are found by the id of a network."""

  def __init__(self, rows: Iterable[Mapping[str, Any]], where: str):
    self._rows = [dict(row) for row in rows]
    self._where = where
    names = self._rows[0].keys() if self._rows else ()
    self._keys = [key for key in _KEYS if key in names]
    self._by_key: list[dict[str, dict[str, Any]]] = []
    for key in self._keys:
      values = [_stem(str(row.get(key, ''))) for row in self._rows]
      if len(set(values)) == len(values):
        self._by_key.append(dict(zip(values, self._rows, strict=True)))

  def row(self, id: str) -> dict[str, Any]:
    """The row of a network: its id, or its last part, is in a column such as 'file' or 'id'.

    Raises:
      ValueError: if there is none.
    """
    for name in (id, id.rpartition('/')[-1]):
      for rows in self._by_key:
        if name in rows:
          return rows[name]
    raise ValueError(
      f'{self._where} has no row of network {id!r}; one of the columns {", ".join(_KEYS)} has to '
      'name the file, each once.'
    )


def read(source: Any) -> Table:
  """Reads a table.

  Args:
    source: path of a .csv, .tsv, .json (a list of objects, or an object of them by id) or .jsonl
      file; or rows, or a mapping from ids to rows.

  Raises:
    ValueError: naming the file, if it is none of these.
  """
  if isinstance(source, Mapping):
    return Table(({'id': id, **row} for id, row in source.items()), 'records')
  if not isinstance(source, str | pathlib.Path):
    return Table(source, 'records')
  path = pathlib.Path(source)
  if not path.exists():
    raise ValueError(f'There is no {path}.')
  match path.suffix:
    case '.csv' | '.tsv':
      return Table(read_csv(path), str(path))
    case '.json':
      value = files.read_json(path)
      if isinstance(value, dict) and all(isinstance(row, dict) for row in value.values()):
        value = [{'id': id, **row} for id, row in value.items()]
    case '.jsonl':
      lines, broken = files.read_json_lines(path)
      if broken:
        raise ValueError(f'{path} line {broken[0]} is not JSON.')
      value = [line.value for line in lines]
    case _:
      raise ValueError(f'{path} is no table; known are .csv, .tsv, .json and .jsonl.')
  if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
    raise ValueError(f'{path} is not a list of objects, one for each network.')
  return Table(value, str(path))


def read_csv(path: pathlib.Path) -> list[dict[str, Any]]:
  """Rows of a table; numbers and booleans are read, and empty cells are left out."""
  try:
    text = files.read_bytes(path).decode('utf-8-sig')
    reader = csv.reader(io.StringIO(text), delimiter='\t' if path.suffix == '.tsv' else ',')
    names = next(reader, [])
    rows = [row for row in reader if row]
  except (UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f'{path} is not a table: {error}.') from error
  if not names or len(set(names)) < len(names) or '' in names:
    raise ValueError(f'{path} needs a first line with different names of columns; got {names}.')
  for number, row in enumerate(rows, 2):
    if len(row) != len(names):
      raise ValueError(f'{path} row {number} has {len(row)} cells; there are {len(names)} columns.')
  made = []
  for row in rows:
    values = map(_value, row)
    made.append({n: x for n, x in zip(names, values, strict=True) if x is not _UNKNOWN})
  return made


def _value(cell: str) -> Any:
  cell = cell.strip()
  if _NUMBER.fullmatch(cell):
    return int(cell) if cell.lstrip('+-').isdigit() else float(cell)
  word = cell.lower()
  return _UNKNOWN if word in _NOTHING else _WORDS.get(word, cell)


def _stem(name: str) -> str:
  """An id as `checkpoint.checkpoints` gives it: a path without its suffix."""
  return _SUFFIX.sub('', name)
