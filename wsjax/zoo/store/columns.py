"""Fields of records as columns, and conditions on them."""

import ast
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.zoo.store import record as record_lib

_MAX_LENGTH = 2000
_ARITHMETIC = {
  ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv
}  # fmt: skip
_COMPARISONS = {
  ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
  ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
  ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_Row = Mapping[str, Any]
_WITH_PARTS = ('extra', 'optimizer', 'seed', 'generated', 'final')
_SCALARS = {str, int, float, bool, type(None)}


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
  """The scalars of a record as columns.

  Returns:
    'split', 'optimizer/hparams/learning_rate', 'final/val/accuracy', ... -> string, number, boolean
    or None. Fields of the user's own, in 'extra', stand there by their names alone.
  """
  columns = {}
  for name in _WITH_PARTS:
    columns |= _parts(name, record.get(name))
  return columns | _scalars(record, '')


def _parts(name: str, value: Any) -> dict[str, Any]:
  """The columns of a field that holds values inside."""
  if not value or name not in _WITH_PARTS:
    return {}
  if name == 'final':
    return {f'final/{metric["split"]}/{metric["metric"]}': metric['value'] for metric in value}
  columns = _scalars(value, '' if name == 'extra' else f'{name}/')
  if name == 'optimizer':
    columns |= _scalars(value.get('hparams', {}), 'optimizer/hparams/')
  return columns


def table(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
  """`flatten` of n records, name -> [n]; None where a record has no such column.

  Values that records share are looked into once, so that thousands of records take no longer than
  their own fields.
  """
  first = list(records[0])
  names = first
  if any(list(record) != first for record in records):
    names = list(dict.fromkeys(name for record in records for name in record))
    by_name = {name: [record.get(name) for record in records] for name in names}
  else:
    rows = zip(*(record.values() for record in records), strict=True)
    by_name = {name: list(values) for name, values in zip(names, rows, strict=True)}
  made: dict[str, list[Any]] = {}
  shared = {}
  for name, values in by_name.items():
    if not any(map(operator.is_not, values, itertools.repeat(values[0]))):
      shared[name] = values[0]
    elif {*map(type, values)} <= _SCALARS:
      made[name] = values
    else:
      for place, value in enumerate(values):
        is_scalar = value is None or isinstance(value, str | int | float)
        for part, item in ({name: value} if is_scalar else _parts(name, value)).items():
          if part not in made:
            made[part] = [None] * len(records)
          made[part][place] = item
  return {name: [value] * len(records) for name, value in flatten(shared).items()} | made


def column(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> np.ndarray:
  """Returns one field of every record as an array; see `store.Zoo.column`."""
  names = '/'.join(names).split('/')
  if names[0] not in record_lib.SCHEMA['properties']:
    own = {name for record in records for name in record.get('extra') or {}}
    if names[0] not in own:
      raise ValueError(
        f'Records have no field {"/".join(names)!r}; they have '
        f'{", ".join([*record_lib.SCHEMA["properties"], *sorted(own)])}.'
      )
    names = ['extra', *names]
  values = [_value(record, names) for record in records]
  kinds = {type(value) for value in values} - {type(None)}
  if kinds == {str}:
    return np.array(['' if value is None else value for value in values])
  if kinds == {bool} and None not in values:
    return np.array(values)
  if kinds and kinds <= {int, float, bool}:
    return np.array([np.nan if value is None else value for value in values], np.float64)
  raise ValueError(f'No record has a scalar in {"/".join(names)!r}.')


def matches(records: Sequence[Mapping[str, Any]], condition: str) -> np.ndarray:
  """Whether each of n records meets a condition, [n] booleans.

  The condition is a Python expression of comparisons, `and`, `or`, `not`, arithmetic, `in`,
  constants and names: those of `flatten` with dots for slashes, such as `final.val.accuracy`, or
  their last part where that is unambiguous: `accuracy`, `learning_rate`; `optimizer` is its name.
  A value that is not known is None, and no comparison with it holds but `is` and `!=`.

  Raises:
    ValueError: for anything else in the condition, a name that no record has, or values that do not
      compare.
  """
  rows = [flatten(record) for record in records]
  known = {name for row in rows for name in row}
  if len(condition) > _MAX_LENGTH:
    raise ValueError(f'A condition has at most {_MAX_LENGTH} characters; got {len(condition)}.')
  try:
    run = _compile(ast.parse(condition, mode='eval').body, known)
    return np.array([bool(run(row)) for row in rows])
  except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
    raise ValueError(f'The condition {condition!r} cannot be evaluated: {error}.') from error


def _compile(node: ast.expr, known: set[str]) -> Callable[[_Row], Any]:
  """A function of a row for one node of a condition."""
  match node:
    case ast.Constant(value=value) if value is None or isinstance(value, str | int | float):
      return lambda row: value
    case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
      parts = [_compile(item, known) for item in items]
      return lambda row: [part(row) for part in parts]
    case ast.Name() | ast.Attribute():
      name = resolve(ast.unparse(node).replace('.', '/'), known)
      return lambda row: row.get(name)
    case ast.BoolOp(op=op, values=items):
      parts = [_compile(item, known) for item in items]
      choose = all if isinstance(op, ast.And) else any
      return lambda row: choose(part(row) for part in parts)
    case ast.UnaryOp(op=ast.Not(), operand=item):
      inner = _compile(item, known)
      return lambda row: not inner(row)
    case ast.UnaryOp(op=ast.USub(), operand=item):
      inner = _compile(item, known)
      return lambda row: None if (value := inner(row)) is None else -value
    case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
      a, b, apply = _compile(left, known), _compile(right, known), _ARITHMETIC[type(op)]

      def compute(row: _Row) -> Any:
        values = a(row), b(row)
        if any(isinstance(value, str) for value in values):
          raise TypeError('arithmetic is for numbers')
        return None if None in values else apply(*values)

      return compute
    case ast.Compare(left=left, ops=ops, comparators=rights):
      parts = [_compile(item, known) for item in (left, *rights)]
      return lambda row: _compare([part(row) for part in parts], ops)
  raise ValueError(f'A condition must not contain {ast.unparse(node)!r} ({type(node).__name__}).')


def _compare(values: Sequence[Any], ops: Sequence[ast.cmpop]) -> bool:
  for a, op, b in zip(values, ops, values[1:], strict=False):
    ordered = not isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot)
    if ordered and (a is None or b is None):
      return False
    if isinstance(op, ast.In | ast.NotIn) and not isinstance(b, list | str):
      raise TypeError('`in` needs a list or a text')
    if not _COMPARISONS[type(op)](a, b):
      return False
  return True


def resolve(name: str, known: set[str]) -> str:
  """The column of a name: itself, its 'name', or the only one that ends in it, else ValueError."""
  for exact in (f'{name}/name', name):  # 'optimizer' is null where its name is not known.
    if exact in known:
      return exact
  found = sorted(column for column in known if column.endswith(f'/{name}'))
  final = [column for column in found if column.startswith('final/val/')]
  if len(found) == 1 or len(final) == 1:
    return (final or found)[0]
  if found:
    raise ValueError(f'{name!r} may mean {", ".join(found)}.')
  raise ValueError(f'Records have no {name!r}; they have {", ".join(sorted(known))}.')


def _scalars(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
  return {
    prefix + name: item
    for name, item in value.items()
    if item is None or isinstance(item, str | int | float)
  }


def _value(record: Mapping[str, Any], names: Sequence[str]) -> Any:
  """A value inside a record; None where it is not there."""
  value = record.get(names[0])
  if names[0] in ('final', 'trace'):
    found = [item['value'] for item in value if [item['split'], item['metric']] == list(names[1:])]
    return found[-1] if found else None
  for name in names[1:]:
    value = value.get(name) if isinstance(value, Mapping) else None
  return value
