"""Units of one block that an index chooses, as the hidden units of the expert of each example.

The rows of a value that is gathered by an index have the permutations of the blocks that the index
says. Two gathers with the same index choose the same blocks, so what is moved in the rows of the
first cancels in those of the second. A `Place` tells the index and the axes of the rows.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import numbers as numbers_lib
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import rules

Op = program_lib.Op
Value = program_lib.Value
Key = tuple[object, ...]
# Rounds and devices have an index each.
_NEVER = frozenset(('loop', 'close', 'scan_out', 'shard_out', 'all_gather', 'all_gather_invariant'))


@dataclasses.dataclass(frozen=True)
class Place:
  """Where units are told apart: along axes of a value, by an index; by none if by the axis."""

  axes: tuple[int, ...]
  key: Key | None = None


class Choices:
  """The choices of blocks in a program.

  Attributes:
    of: id of an operation -> its operand, the axis with the blocks, and where they are in results.
  """

  def __init__(self, program: program_lib.Program, axes: axes_lib.Axes):
    self.of: dict[int, list[tuple[int, int, Place]]] = {}
    self._traces = axes.traces
    names = ('gather', 'dynamic_slice', 'ragged_dot_general')
    if not any(op.name in names for op in program.ops):
      return
    numbers = numbers_lib.value_numbers(program)
    makers = {id(out): op for op in program.ops for out in op.outs}
    tied: dict[Key, tuple[int, axes_lib.atoms_lib.Label]] = {}
    for op in program.ops:
      found = list(_chosen(op, numbers, makers)) if op.name in names else []
      for operand, axis, place in found:
        n, label = op.ins[operand].shape[axis], axes.of(op.ins[operand])[axis]
        other = tied.setdefault((place.key, n), (n, label))[1]
        axes.atoms.unify(other, label, op.name)  # Both are pinned.
      self.of[id(op)] = found

  def passed(
    self, op: Op, places: Mapping[int, Place], reaches: Callable[[int, int], bool]
  ) -> dict[int, Place] | None:
    """Places in results, from those in operands; None if an operation mixes units.

    Args:
      op: an operation.
      places: of the operands that are moved.
      reaches: whether units of an operand are part of a result along a linked axis.
    """
    chosen = self.of.get(id(op), [])
    if op.name == 'ragged_dot_general':
      return self._ragged(op, places)
    for operand, axis, place in chosen:
      if places == {operand: Place((axis,))}:
        return {0: place}
    if op.name in _NEVER or op.name in rules.COLLECTIVES:
      return None
    trace = self._traces[id(op)]
    if len({place.key for place in places.values()}) != 1:
      return None
    results: dict[int, Place] = {}
    for i, place in places.items():
      for o, out in enumerate(op.outs):
        if trace.flat:
          axes = [_reshaped(op.ins[i].shape, out.shape, axis) for axis in place.axes]
        elif not reaches(i, o):
          continue
        else:
          links = {(a, i_axis): b for j, i_axis, a, b in trace.links if j == i}
          axes = [links.get((o, axis)) for axis in place.axes]
        if any(a is None for a in axes):
          return None
        if any(op.ins[i].shape[a] != out.shape[b] for a, b in zip(place.axes, axes, strict=True)):
          return None
        if results.setdefault(o, Place(tuple(axes), place.key)).axes != tuple(axes):
          return None
    return results

  def _ragged(self, op: Op, places: Mapping[int, Place]) -> dict[int, Place] | None:
    """Rows of the operand are of the group whose matrix they are multiplied with."""
    for _, axis, place in self.of[id(op)]:
      rows = op.params['ragged_dot_dimension_numbers'].lhs_ragged_dimensions[0]
      wanted = {0: Place((rows,), place.key), 1: Place((axis,))}
      if 1 in places and all(wanted[i] == given for i, given in places.items()):
        return {0: place}
    return None


def _chosen(op: Op, numbers: Mapping[int, int], makers: Mapping[int, Op]):
  """(operand, axis, place in the result) of the axes of which an operation takes an element."""
  shape = op.ins[0].shape
  if op.name == 'dynamic_slice':
    for axis, size in enumerate(op.params['slice_sizes']):
      if size == 1 < shape[axis]:
        yield 0, axis, Place((), (numbers[id(op.ins[1 + axis])], 0))
  elif op.name == 'gather':
    dims = op.params['dimension_numbers']
    offsets = set(dims.offset_dims)
    batch = tuple(a for a in range(len(op.outs[0].shape)) if a not in offsets)
    for place, axis in enumerate(dims.start_index_map):
      if op.params['slice_sizes'][axis] == 1 < shape[axis]:
        yield 0, axis, Place(batch, _component(op.ins[1], place, numbers, makers))
  else:
    dims = op.params['ragged_dot_dimension_numbers']
    contracting, batch = dims.dot_dimension_numbers
    rows, groups = dims.lhs_ragged_dimensions, dims.rhs_group_dimensions
    if len(rows) == len(groups) == 1 and not batch[0] and rows[0] not in contracting[0]:
      free = [axis for axis in range(len(shape)) if axis not in contracting[0]]
      yield 1, groups[0], Place((free.index(rows[0]),), ('ragged', numbers[id(op.ins[2])]))


def _component(
  value: Value, place: int, numbers: Mapping[int, int], makers: Mapping[int, Op]
) -> Key:
  """One component of an index of several."""
  op = makers.get(id(value))
  if op is not None and op.name == 'concatenate':
    if op.params['dimension'] == len(value.shape) - 1:
      for part in op.ins:
        if place < part.shape[-1]:
          return _component(part, place, numbers, makers)
        place -= part.shape[-1]
  return numbers[id(value)], place


def _reshaped(before: Sequence[int], after: Sequence[int], axis: int) -> int | None:
  """The axis that is the same after a reshape."""
  start = math.prod(before[:axis])
  for other, n in enumerate(after):
    if n == before[axis] and math.prod(after[:other]) == start:
      return other
  return None
