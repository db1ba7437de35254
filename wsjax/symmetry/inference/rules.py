"""How each JAX primitive acts on axes: a table from its name to a rule.

A rule `(axes, op)` ties, links, frees or pins; axes of results that it does not mention are pinned.
Another primitive needs a line here, and one in `laws` if units may be rescaled through it.
"""

import math
from collections.abc import Callable, Collection, Iterable

from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import program
from wsjax.symmetry.inference import rules_linear as linear

Axes = axes_lib.Axes
Op = program.Op
Rule = Callable[[Axes, Op], None]

# One result; operands are scalars, or of its rank with lengths equal or 1.
ELEMENTWISE = (
  'abs acos acosh add add_any and asin asinh atan atan2 atanh '
  'bessel_i0e bessel_i1e bitcast_convert_type cbrt ceil clamp clz complex '
  'conj convert_element_type copy cos cosh digamma div eq eq_to erf erf_inv '
  'erfc exp exp2 expm1 floor '
  'ge gt igamma igammac imag integer_pow is_finite le le_to lgamma log log1p '
  'logistic lt lt_to max min mul mulhi name ne neg nextafter not or polygamma '
  'population_count pow real reduce_precision regularized_incomplete_beta rem '
  'round rsqrt select_n sharding_constraint shift_left shift_right_arithmetic '
  'shift_right_logical sign sin sinc sinh sqrt square stop_gradient sub tan tanh '
  'xor zeta'
).split()
REDUCTIONS = (
  'reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor'
).split()
CUMULATIVE = 'cumsum cumprod cummax cummin cumlogsumexp'.split()
# Between the devices of a mesh, each element on its own.
COLLECTIVES = 'psum psum2 psum_invariant pmax pmin ppermute pvary pbroadcast'.split()
WINDOWS = 'reduce_window_sum reduce_window_max reduce_window_min'.split()


def _elementwise(axes: Axes, op: Op) -> None:
  out = op.outs[0]
  arrays = [(i, value) for i, value in enumerate(op.ins) if value.shape and value.number is None]
  if any(len(value.shape) != len(out.shape) for _, value in arrays):
    return axes.pin_all(op)
  for axis, n in enumerate(out.shape):
    varying = [i for i, value in arrays if value.shape[axis] == n]
    for i in varying:
      axes.link(op, i, axis, 0, axis)
    if not varying:
      axes.free(op, 0, axis)


def _alike(each: bool) -> Rule:
  """Every operand is a result of its own (`each`), or is, or may be, the one result."""

  def rule(axes: Axes, op: Op) -> None:
    for i, value in enumerate(op.ins):
      for axis in range(len(value.shape)):
        axes.link(op, i, axis, i if each else 0, axis)

  return rule


def _rotary(axes: Axes, op: Op) -> None:
  """Pairs (x0, x1) become (-x1, x0), which no exchange of the two commutes with."""
  _alike(each=False)(axes, op)
  axes.pin_axis(op, 0, op.params['axis'])


def _collective(axes: Axes, op: Op) -> None:
  """Each operand is a result of its own, less the axes of a vmap that is reduced over."""
  gone = {axis for axis in op.params.get('axes', ()) if isinstance(axis, int)}
  for i, value in enumerate(op.ins):
    kept = [axis for axis in range(len(value.shape)) if axis not in gone]
    for out_axis, axis in enumerate(kept):
      axes.link(op, i, axis, i, out_axis)
    for axis in gone:
      axes.reduce(op, i, axis)


def _close(axes: Axes, op: Op) -> None:
  for one, two in zip(axes.of(op.ins[0]), axes.of(op.ins[1]), strict=True):
    axes.atoms.unify(one, two, op.name)


def _order(axes: Axes, op: Op, order: Iterable[int]) -> None:
  """The axes of the result are those of the operand, in some order."""
  for out_axis, axis in enumerate(order):
    axes.link(op, 0, axis, 0, out_axis)


def _without(axes: Axes, op: Op, gone: Collection[int]) -> None:
  rank = len(op.ins[0].shape)
  gone = {axis % rank for axis in gone}
  _order(axes, op, (axis for axis in range(rank) if axis not in gone))


def _reduction(axes: Axes, op: Op) -> None:
  for axis in set(op.params['axes']):
    axes.reduce(op, 0, axis)
  _without(axes, op, op.params['axes'])


def _arg_reduction(axes: Axes, op: Op) -> None:
  for axis in op.params['axes']:
    axes.pin_axis(op, 0, axis)
  _reduction(axes, op)


def _along_axis(name: str) -> Rule:
  """Rule of an operation that reads the order along one axis."""

  def rule(axes: Axes, op: Op) -> None:
    ordered = op.params[name] % len(op.ins[0].shape)
    for i, value in enumerate(op.ins):
      for axis in range(len(value.shape)):
        links = ((i, axis, o, axis) for o in range(len(op.outs)))
        axes.link_if(op, axis != ordered, *links)

  return rule


def _reverse(axes: Axes, op: Op) -> None:
  for axis in range(len(op.ins[0].shape)):
    axes.link_if(op, axis not in op.params['dimensions'], (0, axis, 0, axis))


def _broadcast(axes: Axes, op: Op) -> None:
  shape, out = op.ins[0].shape, op.outs[0]
  for out_axis in range(len(out.shape)):
    axes.free(op, 0, out_axis)
  for axis, out_axis in enumerate(op.params['broadcast_dimensions']):
    if shape[axis] == out.shape[out_axis]:
      axes.link(op, 0, axis, 0, out_axis)


def _reshape(axes: Axes, op: Op) -> None:
  rest = tuple(atom for label in axes.of(op.ins[0]) for atom in label)
  shape, start = op.outs[0].shape, 0
  for stop in range(1, len(shape) + 1):
    taken = axes.atoms.take(rest, math.prod(shape[start:stop]))
    if taken is None:
      continue
    head, rest = taken
    if stop == start + 1:
      axes.give(op, head, 0, start)
    else:  # Blocks that do not line up with the new axes.
      axes.pin(op, head)
    start = stop
  axes.traces[id(op)].flat = True


def _iota(axes: Axes, op: Op) -> None:
  for axis in range(len(op.outs[0].shape)):
    if axis != op.params['dimension']:
      axes.free(op, 0, axis)


def _stack(axes: Axes, op: Op) -> None:
  place = 0 if op.name == 'scan_out' else op.params['axis']
  for i, value in enumerate(op.ins):
    for axis in range(len(value.shape)):
      axes.link(op, i, axis, 0, axis + (axis >= place))


def _unstack(axes: Axes, op: Op) -> None:
  place = 0 if op.name == 'scan_in' else op.params['axis']
  for axis in range(len(op.ins[0].shape)):
    links = ((0, axis, o, axis - (axis > place)) for o in range(len(op.outs)))
    axes.link_if(op, axis != place, *links)


def _round_in(axes: Axes, op: Op) -> None:
  """The axis over the rounds of a scan is the same for all that it takes apart or stacks."""
  _unstack(axes, op)
  label = axes.of(op.ins[0])[0]
  axes.atoms.unify(axes.scans.setdefault(op.outs[0].scans[-1], label), label, op.name)


def _round_out(axes: Axes, op: Op) -> None:
  _stack(axes, op)
  inside, outside = op.ins[0].scans, op.outs[0].scans
  if len(inside) > len(outside):
    length = op.outs[0].shape[0]
    label = axes.scans.setdefault(inside[len(outside)], axes.atoms.new(length, op.name))
    axes.give(op, label, 0, 0)


def _shard_in(axes: Axes, op: Op) -> None:
  """One shard: of an axis that is cut, the order of the shards is fixed."""
  for axis, n in enumerate(op.outs[0].shape):
    whole = op.ins[0].shape[axis]
    if n == whole:
      axes.link(op, 0, axis, 0, axis)
      continue
    block, size = axes.window(op, axes.of(op.ins[0])[axis], whole, (n,))
    if size == n:
      axes.link(op, 0, axis, 0, axis, block)


def _shard_out(axes: Axes, op: Op) -> None:
  for axis, n in enumerate(op.ins[0].shape):
    if n == op.outs[0].shape[axis]:
      axes.link(op, 0, axis, 0, axis)
    else:
      axes.link_blocks(op, 0, axis, 0, axis, (axes.of(op.ins[0])[axis], n))


def _all_gather(axes: Axes, op: Op) -> None:
  place, tiled = op.params['all_gather_dimension'], op.params['tiled']
  for axis, n in enumerate(op.ins[0].shape):
    if tiled and axis == place:
      axes.link_blocks(op, 0, axis, 0, axis, (axes.of(op.ins[0])[axis], n))
    else:
      axes.link(op, 0, axis, 0, axis + (not tiled and axis >= place))


def _fft(axes: Axes, op: Op) -> None:
  rank = len(op.ins[0].shape)
  for axis in range(rank):
    axes.link_if(op, axis < rank - len(op.params['fft_lengths']), (0, axis, 0, axis))


RULES = {
  **dict.fromkeys(ELEMENTWISE, _elementwise),
  **dict.fromkeys(REDUCTIONS, _reduction),
  **dict.fromkeys(('argmax', 'argmin'), _arg_reduction),
  **dict.fromkeys(CUMULATIVE, _along_axis('axis')),
  **dict.fromkeys(('join', 'loop'), _alike(each=False)),
  **dict.fromkeys(('optimization_barrier', 'device_put'), _alike(each=True)),
  **dict.fromkeys(COLLECTIVES, _collective),
  **dict.fromkeys(('all_gather', 'all_gather_invariant'), _all_gather),
  **dict.fromkeys(WINDOWS, linear.window_reduction),
  **dict.fromkeys(linear.SCATTERS, linear.scatter),
  'fft': _fft,
  'rotary': _rotary,
  'shard_in': _shard_in,
  'shard_out': _shard_out,
  'top_k': _along_axis('axis'),
  'sort': _along_axis('dimension'),
  'close': _close,
  'rev': _reverse,
  'transpose': lambda axes, op: _order(axes, op, op.params['permutation']),
  'squeeze': lambda axes, op: _without(axes, op, op.params['dimensions']),
  'broadcast_in_dim': _broadcast,
  'reshape': _reshape,
  'iota': _iota,
  'platform_index': lambda axes, op: None,  # A scalar that no weight changes.
  'scan_in': _unstack,
  'scan_out': _stack,
  'stack': _stack,
  'unstack': _unstack,
  'dot_general': linear.dot_general,
  'ragged_dot_general': linear.ragged_dot,
  'conv_general_dilated': linear.convolution,
  'convolution_in_groups': linear.grouped_convolution,
  'gather': linear.gather,
  'dynamic_slice': linear.dynamic_slice,
  'dynamic_update_slice': linear.dynamic_update_slice,
  'slice': linear.static_slice,
  'split': linear.split,
  'pad': linear.pad,
  'concatenate': linear.concatenate,
}

# Where an axis that is cut or glued has a label for each piece.
FINE = {
  **RULES,
  'slice': linear.pieces_of_slice,
  'split': linear.pieces_of_split,
  'pad': linear.padded_pieces,
  'concatenate': linear.glued_pieces,
  'scan_in': _round_in,
  'scan_out': _round_out,
}
