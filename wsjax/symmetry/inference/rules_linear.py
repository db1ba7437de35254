"""How products, convolutions, windows, slices and gathers act on axes.

Where an axis is cut or glued, units may still be permuted inside blocks that no cut goes through,
alike in every block: all gates of a recurrent cell, or the two halves of a concatenation.
"""

import math
from collections.abc import Sequence

from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import program

Axes = axes_lib.Axes
Op = program.Op
Axis = Sequence[int]

# Whether the order of updates to the same place matters.
SCATTERS = {
  'scatter': True,
  'scatter-add': False,
  'scatter-sub': False,
  'scatter-mul': False,
  'scatter-min': False,
  'scatter-max': False,
}


def dot_general(axes: Axes, op: Op) -> None:
  """Contracted axes are tied; batch and free axes pass on."""
  _product(axes, op, *op.params['dimension_numbers'])


def ragged_dot(axes: Axes, op: Op) -> None:
  """Rows in groups, each times a matrix of its own: rows and groups are pinned."""
  numbers = op.params['ragged_dot_dimension_numbers']
  contracting, batch = numbers.dot_dimension_numbers
  (rows,), groups = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
  if len(groups) != 1 or rows in (*contracting[0], *batch[0]):
    return axes.pin_all(op)
  axes.pin(op, axes.of(op.ins[0])[rows])
  axes.pin(op, axes.of(op.ins[1])[groups[0]])
  for label in axes.of(op.ins[2]):
    axes.pin(op, label)
  _product(axes, op, contracting, batch, rows, groups)


def _product(
  axes: Axes,
  op: Op,
  contracting: Sequence[Axis],
  batch: Sequence[Axis],
  rows: int | None = None,
  groups: Axis = (),
) -> None:
  """Ties what is contracted and links the rest, but for pinned rows and the axes of groups."""
  for one, two in zip(*contracting, strict=True):
    axes.contract(op, 0, one, 1, two)
  out_axis = 0
  for one, two in zip(*batch, strict=True):
    axes.link(op, 0, one, 0, out_axis)
    axes.link(op, 1, two, 0, out_axis)
    out_axis += 1
  for i, gone in ((0, ()), (1, groups)):
    for axis in range(len(op.ins[i].shape)):
      if axis not in (*contracting[i], *batch[i], *gone):
        axes.link_if(op, (i, axis) != (0, rows), (i, axis, 0, out_axis))
        out_axis += 1


def convolution(axes: Axes, op: Op) -> None:
  """Features are contracted; positions under a window are pinned."""
  if op.params['batch_group_count'] != 1:
    return axes.pin_all(op)
  lhs, rhs, out = op.params['dimension_numbers']
  axes.link(op, 0, lhs[0], 0, out[0])
  axes.contract(op, 0, lhs[1], 1, rhs[1])
  axes.link(op, 1, rhs[0], 0, out[1])
  _positions(axes, op, lhs[2:], rhs[2:], out[2:])


def grouped_convolution(axes: Axes, op: Op) -> None:
  """The same where an axis over groups stands before the features.

  The operands are [.., groups, features, ..] and [.., groups, outputs, ..] at the places of their
  feature axes; so is the result.
  """
  if op.params['batch_group_count'] != 1:
    return axes.pin_all(op)
  lhs, rhs, out = op.params['dimension_numbers']
  image, kernel, result = (
    [axis + (axis > cut) for axis in numbers]
    for numbers, cut in ((lhs, lhs[1]), (rhs, rhs[0]), (out, out[1]))
  )
  axes.link(op, 0, image[0], 0, result[0])
  axes.link(op, 0, image[1], 0, result[1])
  axes.link(op, 1, kernel[0], 0, result[1])
  axes.link(op, 1, kernel[0] + 1, 0, result[1] + 1)
  axes.contract(op, 0, image[1] + 1, 1, kernel[1])
  _positions(axes, op, image[2:], kernel[2:], result[2:])


def _positions(axes: Axes, op: Op, images: Axis, kernels: Axis, results: Axis) -> None:
  """Spatial axes: pinned, unless a window of one element goes over them."""
  triples = zip(images, kernels, results, strict=True)
  for spatial, (image, kernel, result) in enumerate(triples):
    if (
      op.ins[1].shape[kernel] == 1
      and op.ins[0].shape[image] == op.outs[0].shape[result]
      and tuple(op.params['padding'][spatial]) == (0, 0)
      and op.params['window_strides'][spatial] == 1
      and op.params['lhs_dilation'][spatial] == 1
    ):
      axes.link(op, 0, image, 0, result)
    else:
      axes.pin_axis(op, 0, image)
      axes.pin_axis(op, 1, kernel)


def window_reduction(axes: Axes, op: Op) -> None:
  """Axes with windows of one element pass on, others are pinned."""
  for axis, window in enumerate(op.params['window_dimensions']):
    single = (
      window == op.params['window_strides'][axis] == 1
      and op.params['base_dilation'][axis] == 1
      and tuple(op.params['padding'][axis]) == (0, 0)
    )
    axes.link_if(op, single, (0, axis, 0, axis))


def static_slice(axes: Axes, op: Op) -> None:
  """A slice of whole blocks keeps what acts inside a block."""
  strides = op.params['strides'] or (1,) * len(op.ins[0].shape)
  for axis, n in enumerate(op.ins[0].shape):
    cuts = op.params['start_indices'][axis], op.params['limit_indices'][axis]
    if strides[axis] == 1 and cuts != (0, n):
      _cut(axes, op, axis, cuts)
    else:
      axes.link_if(op, strides[axis] == 1, (0, axis, 0, axis))


def _cut(axes: Axes, op: Op, axis: int, cuts: tuple[int, ...]) -> None:
  """Labels an axis of every result as blocks of the first operand's."""
  block = axes.window(op, axes.of(op.ins[0])[axis], op.ins[0].shape[axis], cuts)
  for o in range(len(op.outs)):
    axes.link_blocks(op, 0, axis, o, axis, block)


def split(axes: Axes, op: Op) -> None:
  """Pieces of whole blocks keep what acts inside a block."""
  sizes, place = op.params['sizes'], op.params['axis']
  for axis in range(len(op.ins[0].shape)):
    if axis == place and len(sizes) > 1:
      _cut(axes, op, axis, tuple(int(n) for n in sizes))
    else:
      for o in range(len(op.outs)):
        axes.link(op, 0, axis, o, axis)


def pad(axes: Axes, op: Op) -> None:
  """Padding by whole blocks keeps what acts inside a block."""
  for axis, (low, high, inside) in enumerate(op.params['padding_config']):
    if (low or high) and not inside:
      _cut(axes, op, axis, (low, high))
    else:
      axes.link_if(op, not inside, (0, axis, 0, axis))


def concatenate(axes: Axes, op: Op) -> None:
  """Blocks that divide every piece are permuted alike in all of them."""
  place = op.params['dimension']
  sizes = tuple(value.shape[place] for value in op.ins)
  blocks = []
  for i, value in enumerate(op.ins):
    for axis in range(len(value.shape)):
      if axis != place or len(sizes) == 1:
        axes.link(op, i, axis, 0, axis)
    if len(sizes) > 1:
      label = axes.of(value)[place]
      blocks.append(axes.window(op, label, sizes[i], sizes))
  whole = math.gcd(*sizes)
  if any(size != whole for _, size in blocks):
    for block, _ in blocks:
      axes.pin(op, block)
    return
  for i, block in enumerate(blocks):
    axes.link_blocks(op, i, place, 0, place, block)


def pieces_of_slice(axes: Axes, op: Op) -> None:
  """A slice has the label of its piece."""
  strides = op.params['strides'] or (1,) * len(op.ins[0].shape)
  for axis, (start, stop) in enumerate(
    zip(op.params['start_indices'], op.params['limit_indices'], strict=True)
  ):
    if strides[axis] == 1:
      rest = axes.atoms.cut(axes.of(op.ins[0])[axis], start, op.name)[1]
      piece = axes.atoms.cut(rest, stop - start, op.name)[0]
      axes.link(op, 0, axis, 0, axis, piece)
    else:
      axes.pin_axis(op, 0, axis)


def pieces_of_split(axes: Axes, op: Op) -> None:
  """Every part has the label of its piece."""
  for axis in range(len(op.ins[0].shape)):
    rest = axes.of(op.ins[0])[axis]
    for o, out in enumerate(op.outs):
      piece = rest
      if axis == op.params['axis']:
        piece, rest = axes.atoms.cut(rest, out.shape[axis], op.name)
      axes.link(op, 0, axis, o, axis, piece)


def padded_pieces(axes: Axes, op: Op) -> None:
  """Padding is a piece of its own, of equal elements."""
  for axis, (low, high, inside) in enumerate(op.params['padding_config']):
    label, n = axes.of(op.ins[0])[axis], op.ins[0].shape[axis]
    if low < 0 or high < 0 or inside:
      axes.pin_axis(op, 0, axis)
    else:
      pieces = [(axes.atoms.new(low), low), (label, n), (axes.atoms.new(high), high)]
      axes.link(op, 0, axis, 0, axis, axes.atoms.glue(pieces))


def glued_pieces(axes: Axes, op: Op) -> None:
  """Every operand is a piece of its own."""
  place = op.params['dimension']
  whole = axes.atoms.glue([(axes.of(value)[place], value.shape[place]) for value in op.ins])
  for i, value in enumerate(op.ins):
    for axis in range(len(value.shape)):
      axes.link(op, i, axis, 0, axis, whole if axis == place else None)


def dynamic_slice(axes: Axes, op: Op) -> None:
  """Axes that are taken whole pass on, others are pinned."""
  for axis, size in enumerate(op.params['slice_sizes']):
    axes.link_if(op, size == op.ins[0].shape[axis], (0, axis, 0, axis))


def dynamic_update_slice(axes: Axes, op: Op) -> None:
  """Axes that are replaced whole pass on, others are pinned."""
  for axis, size in enumerate(op.ins[1].shape):
    axes.link_if(op, size == op.ins[0].shape[axis], (0, axis, 0, axis), (1, axis, 0, axis))


def gather(axes: Axes, op: Op) -> None:
  """Indexed axes are pinned; whole axes and the indices' own pass on."""
  numbers, sizes = op.params['dimension_numbers'], op.params['slice_sizes']
  operand, indices = op.ins[0].shape, op.ins[1].shape
  axes.pin_axis(op, 1, len(indices) - 1)
  offsets = set(numbers.offset_dims)
  batch = [a for a in range(len(op.outs[0].shape)) if a not in offsets]
  for axis, out_axis in enumerate(batch):
    axes.link(op, 1, axis, 0, out_axis)
  for axis, pair in zip(
    numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
  ):
    axes.link(op, 0, axis, 0, batch[pair])
  gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
  kept = [axis for axis in range(len(operand)) if axis not in gone]
  for axis in numbers.collapsed_slice_dims:
    axes.pin_axis(op, 0, axis)
  for axis, out_axis in zip(kept, numbers.offset_dims, strict=True):
    # Any index into a whole axis is clamped to 0, or all is filled.
    axes.link_if(op, sizes[axis] == operand[axis], (0, axis, 0, out_axis))


def scatter(axes: Axes, op: Op) -> None:
  """Written places are pinned; whole axes and the updates' own pass on."""
  numbers = op.params['dimension_numbers']
  operand, indices, updates = (value.shape for value in op.ins)
  axes.pin_axis(op, 1, len(indices) - 1)
  window = set(numbers.update_window_dims)
  batch = [axis for axis in range(len(updates)) if axis not in window]
  for axis, update_axis in enumerate(batch):
    axes.atoms.unify(axes.of(op.ins[1])[axis], axes.of(op.ins[2])[update_axis], op.name)
    if SCATTERS[op.name]:  # The last of two writes wins.
      axes.pin_axis(op, 2, update_axis)
    axes.reduce(op, 1, axis)
    axes.reduce(op, 2, update_axis)
  gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
  kept = [axis for axis in range(len(operand)) if axis not in gone]
  for axis in (*numbers.inserted_window_dims, *numbers.operand_batching_dims):
    axes.pin_axis(op, 0, axis)
  for pair in numbers.scatter_indices_batching_dims:
    axes.pin_axis(op, 1, pair)
  for axis, update_axis in zip(kept, numbers.update_window_dims, strict=True):
    whole = operand[axis] == updates[update_axis]  # Any index is clamped to 0, or all is dropped.
    axes.link_if(op, whole, (0, axis, 0, axis), (2, update_axis, 0, axis))
