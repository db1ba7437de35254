"""Find the symmetry of a network: which units may be moved, and why not more.

  wsjax inspect model.py:fn
  wsjax inspect model.py:fn --out graph.png

fn is a function without arguments in model.py, which is executed. It returns either (apply_fn,
params, inputs), where apply_fn(params, *inputs) is a JAX function and params and inputs hold arrays
or jax.ShapeDtypeStructs, or a Flax module with an example input, or a tuple of inputs. Nothing is
trained; the network is run, on random weights if need be, only to check the groups found.
"""

import argparse
import math
import pathlib
import runpy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wsjax import terminal

if TYPE_CHECKING:
  from wsjax.symmetry.inference import infer

_MAX_PARAMS = 20_000_000  # Larger networks are not run, only traced.
_MAX_NAMED = 6
_TOLERANCE = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('model', metavar='FILE.py:FN', help='function that returns the network')
  parser.add_argument('--out', metavar='GRAPH.png', help='draw the groups and what joins them')
  parser.add_argument(
    '--check',
    type=int,
    default=3,
    metavar='N',
    help='try N random elements of the group; 0 never runs the network',
  )


def run(args: argparse.Namespace) -> int:
  """Infers, checks, prints and draws."""
  if args.check < 0:
    raise ValueError(f'--check is {args.check}; it must be 0 or more.')
  from wsjax.symmetry import plot
  from wsjax.symmetry.inference import infer

  if args.out:
    plot.check_suffix(pathlib.Path(args.out))
  made = _call(args.model)
  apply_fn, params, inputs = _network(args.model, made)
  inferred = infer.infer(apply_fn, params, *inputs)
  console = terminal.console()
  for part in describe(inferred):
    console.print(part)
  status = 0
  if args.check:
    text, status = _check(inferred, apply_fn, params, inputs, args.check)
    console.print(text, markup=False)
  if args.out:
    plot.save(inferred.spec, pathlib.Path(args.out))
    terminal.show_line(args.out)
  return status


def describe(inferred: 'infer.Inferred') -> Iterator[Any]:
  """Renderables that tell what was found, in reading order.

  Args:
    inferred: what `infer.infer` returned.

  Yields:
    What a rich console prints: groups, what was pinned, and what else is free.
  """
  from rich import text as rich_text

  spec, report = inferred.spec, inferred.report
  yield rich_text.Text(
    f'{report.stats["parameters"]:,} parameters in {report.stats["leaves"]} '
    f'leaves, {report.stats["operations"]} operations: '
    f'{len(spec.groups)} groups'
  )
  table = _table('groups', 'id', 'size', 'kinds', 'moves')
  for group in spec.groups:
    axes = [
      f'{leaf.path}:{dim}{_blocks(axis)}'
      for leaf in spec.leaves
      for dim, axis in enumerate(leaf.axes)
      if axis.group == group.id
    ]
    table.add_row(group.id, str(group.size), ', '.join(group.kinds), _few(axes))
  if spec.groups:
    yield table
  table = _table('pinned', 'by', 'times', 'axes', 'for example')
  for pin in report.pins:
    name = pin.primitive + ('' if pin.supported else ' (unsupported)')
    axes = _few(pin.axes)
    table.add_row(name, str(pin.count), str(len(pin.axes)), axes)
  if report.pins:
    yield table
  yield from _notes(report)


def _notes(report: Any) -> Iterator[Any]:
  """Gauges, units that were dropped, and kinds that were refused."""
  from rich import text as rich_text

  for head, gauges in (
    ('gauges: matrices that may mix units (A; ^-T: its inverse transpose)', report.gauges),
    ('further scales and signs, with their powers', report.rescalings),
  ):
    lines = [f'  {g}: {_few(g.names)}' for g in gauges]
    if lines:
      yield rich_text.Text('\n'.join([head, *lines]))
  lines = [f'  {d.size} units: {_few(d.axes)}' for d in report.dropped]
  if lines:
    head = 'left where they are: they share an axis with a group that is moved'
    yield rich_text.Text('\n'.join([head, *lines]))
  lines = [
    f'  {r.group}: no {r.kind.replace("_", " ")}, because of {", ".join(r.primitives)}'
    for r in report.refused
  ]
  if lines:
    yield rich_text.Text('\n'.join(['kinds that were refused', *lines]))


def _call(model: str) -> Any:
  """Executes the user's file and calls the function that it names."""
  path, colon, name = model.rpartition(':')
  if not colon or not name.isidentifier():
    raise ValueError(
      f'{model!r} does not name a function; write FILE.py:FN, for example model.py:make.'
    )
  if not pathlib.Path(path).is_file():
    raise ValueError(f'There is no file {path}.')
  module = runpy.run_path(path)
  if not callable(module.get(name)):
    names = [
      key
      for key, value in module.items()
      if callable(value) and getattr(value, '__module__', '') == '<run_path>'
    ]
    raise ValueError(f'{path} has no function {name!r}; it has {", ".join(names) or "none"}.')
  return module[name]()


def _network(model: str, made: Any) -> tuple[Any, Any, tuple[Any, ...]]:
  """(apply_fn, params, inputs) from what the user's function returned."""
  import jax
  from flax import linen as nn

  if isinstance(made, tuple) and len(made) == 3 and callable(made[0]):
    inputs = made[2] if isinstance(made[2], (tuple, list)) else (made[2],)
    return made[0], made[1], tuple(inputs)
  if isinstance(made, tuple) and len(made) == 2:
    module, inputs = made
    if isinstance(module, nn.Module):
      inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
      params = jax.eval_shape(module.init, jax.random.key(0), *inputs)
      return module.apply, params, inputs
  raise ValueError(
    f'{model} returned {type(made).__name__}; needed: (apply_fn, params, '
    'inputs), or a Flax module and its example input.'
  )


def _check(
  inferred: 'infer.Inferred', apply_fn: Any, params: Any, inputs: Any, num: int
) -> tuple[str, int]:
  """Runs the network on moved weights; a sentence and an exit status."""
  import jax
  import numpy as np

  from wsjax.symmetry.inference import infer

  leaves = jax.tree.leaves((params, inputs))
  if sum(math.prod(np.shape(leaf)) for leaf in leaves) > _MAX_PARAMS:
    return f'not checked: it has more than {_MAX_PARAMS:,} numbers', 0
  keys = jax.random.split(jax.random.key(0))
  params, inputs = infer.draw(params, keys[0]), infer.draw(inputs, keys[1])
  change = infer.verify(inferred, apply_fn, params, inputs, jax.random.key(1), num=num)
  if math.isnan(change):
    return 'not checked: the outputs are not finite on random weights', 0
  count = len(inferred.report.gauges) + len(inferred.report.rescalings)
  gauges = f' and of each of {count} gauges' if count else ''
  text = f'{num} random elements{gauges} change the outputs by {change:.1e} at most'
  if change < _TOLERANCE:
    return f'checked: {text}', 0
  return f'check failed: {text}; please report this network', 1


def _table(title: str, *headings: str) -> Any:
  from rich import box
  from rich import table as rich_table

  table = rich_table.Table(title=title, box=box.SIMPLE_HEAD, title_justify='left')
  for heading in headings:
    numeric = heading in ('size', 'times') or (heading, title) == ('axes', 'pinned')
    justify = 'right' if numeric else 'left'
    table.add_column(heading, justify=justify, overflow='fold')
  return table


def _blocks(axis: Any) -> str:
  """(outer x n x inner) where an axis has blocks."""
  if axis.outer == axis.inner == 1:
    return ''
  return f'({axis.outer}×n×{axis.inner})'


def _few(names: Any) -> str:
  """The first few of many names."""
  names = [name.removeprefix('params/') for name in names]
  more = len(names) - _MAX_NAMED
  return ', '.join(names[:_MAX_NAMED]) + (f' and {more} more' if more > 0 else '')
