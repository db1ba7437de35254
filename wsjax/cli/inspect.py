"""Find the symmetry of a network: which units may be moved, and why not more.

  wsjax inspect model.py:fn
  wsjax inspect model.py:fn --out graph.png

fn is in model.py, which is executed: a wsjax.Model; or (apply_fn, params, inputs), where
apply_fn(params, *inputs) is a JAX function and params and inputs hold arrays or
jax.ShapeDtypeStructs; or a module of Flax, Haiku or Equinox with an example input, or a tuple of
inputs; or a function without arguments that returns one of these.
Nothing is trained; the network is run, on random weights if need be, only to check the groups.
"""

import argparse
import math
import pathlib
import runpy
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wsjax import terminal
from wsjax.symmetry import fold

if TYPE_CHECKING:
  from wsjax.symmetry.inference import infer

_MAX_PARAMS = 20_000_000  # Larger networks are not run, only traced.
_TOLERANCE = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('model', metavar='FILE.py:FN', help='network, or function that returns it')
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
  lines = [*describe(inferred), *_hint(inferred, apply_fn, params, inputs)]
  status = 0
  if args.check:
    text, status = _check(inferred, apply_fn, params, inputs, args.check)
    lines.append(text)
  console = terminal.console()
  for line in lines:
    indent = ' ' * (len(line) - len(line.lstrip()))
    for part in textwrap.wrap(line, console.width, subsequent_indent=indent + '  '):
      terminal.show_line(part)
  if args.out:
    plot.save(inferred.spec, pathlib.Path(args.out))
    terminal.show_line(args.out)
  return status


def describe(inferred: 'infer.Inferred') -> Iterator[str]:
  """Lines that tell what was found, in reading order; equal blocks are told once."""
  spec, report = inferred.spec, inferred.report
  yield (
    f'{spec.num_params:,} parameters in {len(spec.leaves)} arrays, {report.operations} '
    f'operations: {len(spec.groups)} groups of interchangeable units'
  )
  axes: dict[str, list[str]] = {group.id: [] for group in spec.groups}
  for leaf in spec.leaves:
    for dim, axis in enumerate(leaf.axes):
      if axis.group is not None:
        axes[axis.group].append(f'{leaf.path}:{dim}{_blocks(axis)}')
  yield from _section('groups: units that may be permuted, and the axes they lie along', [
    (group.id, f'{group.size} units, {", ".join(group.kinds)}', _joined(axes[group.id]))
    for group in spec.groups
  ])  # fmt: skip
  yield from _section('gauges: matrices A (^-T: its inverse transpose), scales and signs', [
    (_short(gauge.axes[0].path), text, _joined(gauge.names)) for gauge, text in _gauges(report)
  ])  # fmt: skip
  matrices = [set(gauge.names) for gauge in report.gauges]
  yield from _section('permutations besides those of groups: of parts of axes, or one per block', [
    (_joined(b.names[:1]), str(b), _joined(b.names))
    for b in report.blocks
    if set(b.names) not in [{name.removesuffix('^-T') for name in names} for names in matrices]
  ])  # fmt: skip
  if report.pins:
    yield 'pinned by'
  for pin in report.pins:
    name = pin.primitive + ('' if pin.supported else ' (no rule for it)')
    yield f'  {name}, {len(pin.axes)} axes: {fold.fold(map(_short, pin.axes))}'
  yield from _section('kinds that were refused', [
    (r.group, f'no {r.kind.replace("_", " ")}, because of {", ".join(r.primitives)}', '')
    for r in report.refused
  ])  # fmt: skip
  if spec.groups or report.beyond:
    yield (
      'to act, with found = wsjax.infer(apply, params, *inputs) and weights by path: '
      'found.spec.act(found.spec.random(key), weights), and g.act(g.random(key), weights) for each '
      'g in found.report.beyond'
    )


def _gauges(report: Any) -> Iterator[tuple[Any, str]]:
  """Gauges with what they are; scales and signs of the same axes are one."""
  signs = {frozenset(g.names): g for g in report.rescalings if g.kind == 'sign'}
  for gauge in (*report.gauges, *report.rescalings):
    odd = frozenset(f'{a.path}:{a.dim}' for a in gauge.axes if a.power % 2)
    if gauge.kind == 'positive_scale' and signs.pop(odd, None):
      yield gauge, f'scales and signs of {gauge.size} units'
    elif gauge.kind != 'sign' or frozenset(gauge.names) in signs:
      yield gauge, str(gauge)


def _section(title: str, rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
  """A title and one entry per kind of block."""
  if rows:
    yield title
  for (name, text, axes), members in fold.merge(rows):
    times = f' (×{len(members)})' if len(members) > 1 else ''
    yield f'  {name}{times}: {text}'
    if axes:
      yield f'    {fold.fold(axes.split(", "))}'


def _joined(names: Sequence[str]) -> str:
  return ', '.join(map(_short, names))


def _short(name: str) -> str:
  return name.removeprefix('params/')


def _call(model: str) -> Any:
  """Executes the user's file and calls the function that it names."""
  path, colon, name = model.rpartition(':')
  if not colon or not name.isidentifier():
    raise ValueError(
      f'{model!r} does not name a function; write FILE.py:FN, for example model.py:make.'
    )
  if not pathlib.Path(path).is_file():
    raise ValueError(f'There is no file {path}.')
  sys.path.insert(0, str(pathlib.Path(path).resolve().parent))  # As `python FILE.py` does.
  module = runpy.run_path(path)
  if name not in module:
    own = {k: v for k, v in module.items() if getattr(v, '__module__', '') == '<run_path>'}
    names = ', '.join(key for key, value in own.items() if callable(value))
    raise ValueError(f'{path} has no function {name!r}; it has {names or "none"}.')
  from wsjax.models import model as model_lib

  found = module[name]
  return found() if callable(found) and not model_lib.libraries(found) else found


def _network(model: str, made: Any) -> tuple[Any, Any, tuple[Any, ...]]:
  """(apply_fn, params, inputs) from what the user's function returned."""
  import jax
  from flax import linen as nn

  from wsjax.models import model as model_lib

  if isinstance(made, model_lib.Model):
    example = jax.ShapeDtypeStruct((1, *made.input_shape), 'float32')
    return made.apply, dict(made.shapes), (getattr(made, 'example', example),)
  if isinstance(made, tuple) and len(made) == 3 and callable(made[0]):
    inputs = made[2] if isinstance(made[2], (tuple, list)) else (made[2],)
    return made[0], made[1], tuple(inputs)
  if isinstance(made, tuple) and len(made) == 2 and not callable(made[1]):
    module, inputs = made
    if any(kind.__module__.startswith('equinox.') for kind in type(module).__mro__):
      model = model_lib.Model.from_equinox(module, inputs)
      return model.apply, dict(model.shapes), (model.example,)
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if isinstance(module, nn.Module):
      return module.apply, jax.eval_shape(module.init, jax.random.key(0), *inputs), inputs
    nnx = sys.modules.get('flax.nnx')  # A second to import, which a module of it has done.
    if nnx and isinstance(module, nnx.Module):
      graph, state = nnx.split(module)
      return lambda state, *inputs: nnx.merge(graph, state)(*inputs), state, inputs
    if hasattr(module, 'init') and hasattr(module, 'apply'):  # Haiku.
      params = jax.eval_shape(module.init, jax.random.key(0), *inputs)
      return lambda params, *inputs: module.apply(params, None, *inputs), params, inputs
  raise ValueError(
    f'{model} gave {type(made).__name__}; needed: (apply_fn, params, inputs), a wsjax.Model, or (a '
    'Flax, Haiku or Equinox module, its example input).'
  )


def _hint(inferred: 'infer.Inferred', apply_fn: Any, params: Any, inputs: Any) -> Iterator[str]:
  """Says so if the first of several outputs alone has more symmetry."""
  import jax

  from wsjax.symmetry.inference import infer

  pin = inferred.report.pin('output')
  outputs = pin.count if pin else 0
  if outputs < 2:
    return
  first = infer.infer(lambda *args: jax.tree.leaves(apply_fn(*args))[0], params, *inputs)
  sizes = [sum(g.size for g in found.spec.groups) for found in (inferred, first)]
  if sizes[1] > sizes[0]:
    yield (
      f'hint: all {outputs} outputs are kept as they are; with the first alone, as in '
      f'lambda params, x: jax.tree.leaves(apply(params, x))[0], {sizes[1]} units may be moved '
      f'instead of {sizes[0]}'
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
  count = len(inferred.report.beyond)
  gauges = f' and of each of {count} symmetries besides the groups' if count else ''
  text = f'{num} random elements{gauges} change the outputs by {change:.1e} at most'
  if change < _TOLERANCE:
    return f'checked: {text}', 0
  return f'check failed: {text}; please report this network', 1


def _blocks(axis: Any) -> str:
  """(outer x n x inner) where an axis has blocks."""
  return '' if axis.outer == axis.inner == 1 else f'({axis.outer}×n×{axis.inner})'
