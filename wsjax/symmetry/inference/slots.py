"""Takes stacked parameters apart: queries, keys and values in one array, layers by their number.

Where an axis is viewed as outer x num x inner and one place out of num is taken, the units at each
place are units of their own. A cut of any value is moved towards the parameters, through operations
that work on each element, products, reshapes and transpositions. A parameter of which nothing is
used but such parts becomes one parameter for each part.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from wsjax.symmetry import slot as slot_lib
from wsjax.symmetry.inference import lower, rules
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
Program = program_lib.Program
Value = program_lib.Value
Slots = tuple[slot_lib.Slot, ...]
_MAX_PLACES = 128
_MAX_DEPTH = 100
_ELEMENTWISE = frozenset(rules.ELEMENTWISE)


def apart(program: Program) -> tuple[Program, list[tuple[int, Slots]]]:
  """The program with a leaf for each part of a stacked parameter.

  Returns:
    The program, whose leaves are those of `program` and then the parts; and of every leaf, the
    number of the parameter and the places that were taken of it.
  """
  banned: set[int] = set()
  while True:
    writer = _Writer(program, banned)
    writer.write()
    used = {id(value) for op in writer.ops for value in (*op.ins, *op.needs)}
    used |= {id(value) for value in program.outputs}
    whole = {id(leaf) for leaf in writer.leaves if id(leaf) in used} & writer.cut
    if not whole:
      return (
        dataclasses.replace(program, leaves=writer.leaves, ops=writer.ops)
        if writer.cut
        else program
      ), writer.slots
    banned |= {writer.origin(leaf) for leaf in writer.leaves if id(leaf) in whole}


class _Failed(Exception):  # noqa: N818
  """A cut does not reach the parameters."""


class _Writer:
  """Writes a program again, cuts moved to its leaves."""

  def __init__(self, program: Program, banned: set[int]):
    self._program, self._banned = program, banned
    self.leaves = list(program.leaves)
    self.slots: list[tuple[int, Slots]] = [(i, ()) for i in range(len(program.leaves))]
    self.ops: list[Op] = []
    self.cut: set[int] = set()  # Leaves that have parts.
    self._leaf = {id(leaf): place for place, leaf in enumerate(program.leaves)}
    self._makers: dict[int, Op] = {}
    self._known: dict[tuple[int, slot_lib.Slot], Value] = {}
    self._failed: set[tuple[int, slot_lib.Slot]] = set()
    self._kept: list[Value] = []  # Keeps the ids of failed parts apart from those of others.
    self._depth = 0
    self._new: list[Op] = []

  def origin(self, leaf: Value) -> int:
    """Number of the parameter that a leaf is part of."""
    return self.slots[self._leaf[id(leaf)]][0]

  def write(self) -> None:
    """Copies all operations, and replaces cuts."""
    for op in self._program.ops:
      for new in self._cut(op) or [op]:
        self.ops.append(new)
        self._makers.update((id(out), new) for out in new.outs)
    self.ops = lower.alive(self.ops, self._program.outputs)

  def _cut(self, op: Op) -> list[Op] | None:
    """Operations in place of one that takes places of an axis; None if they do not reach a leaf."""
    wanted = _slots_of(op)
    if not wanted:
      return None
    known, leaves, cut = len(self._known), len(self.leaves), set(self.cut)
    self._new = []
    try:
      parts = [self._part(op.ins[0], slot) for slot in wanted]
      # Pieces next to each other need no parameters of their own: see `pieces`.
      new = [slots[-1] for _, slots in self.slots[leaves:]]
      if wanted[0].factors[2] > 1 and all(slot.factors[0] == 1 for slot in new):
        raise _Failed
    except _Failed:
      for leaf in self.leaves[leaves:]:
        del self._leaf[id(leaf)]
      del self.leaves[leaves:], self.slots[leaves:]
      for key in list(self._known)[known:]:
        self._kept.append(self._known.pop(key))
      self.cut = cut
      return None
    copies = [Op('copy', {}, [part], [out]) for part, out in zip(parts, op.outs, strict=True)]
    return [*self._new, *copies]

  def _part(self, value: Value, slot: slot_lib.Slot) -> Value:
    """One place of an axis of a value."""
    key = id(value), slot
    if key in self._failed or self._depth > _MAX_DEPTH:
      raise _Failed
    if key not in self._known:
      self._depth += 1
      try:
        self._known[key] = self._make(value, slot)
      except _Failed:
        self._failed.add(key)
        raise
      finally:
        self._depth -= 1
    return self._known[key]

  def _make(self, value: Value, slot: slot_lib.Slot) -> Value:
    shape = slot.shape(value.shape)
    if value.number is not None:
      return Value(shape, value.dtype, number=value.number, source='constant')
    if value.source == 'constant' and value.constant is not None:
      return Value(shape, value.dtype, constant=slot.take(value.constant), source='constant')
    if id(value) in self._leaf:
      return self._leaf_part(value, slot)
    op = self._makers.get(id(value))
    rule = _RULES.get(op.name) if op is not None and len(op.outs) == 1 else None
    if op is None or rule is None:
      raise _Failed
    ins = list(op.ins)
    for i, cut in rule(op, slot):
      ins[i] = self._part(ins[i], cut)
    params = {**op.params, **_params(op, shape)}
    out = Value(shape, value.dtype, scans=value.scans)
    made = Op(op.name, params, ins, [out], list(op.needs))
    self._new.append(made)
    self._kept.append(out)
    self._makers[id(out)] = made
    return out

  def _leaf_part(self, leaf: Value, slot: slot_lib.Slot) -> Value:
    origin, slots = self.slots[self._leaf[id(leaf)]]
    if origin in self._banned:
      raise _Failed
    kin = [s[-1] for i, s in self.slots if i == origin and s[:-1] == slots and s]
    if any((s.dim, s.factors) != (slot.dim, slot.factors) for s in kin):  # They overlap.
      raise _Failed
    part = Value(slot.shape(leaf.shape), leaf.dtype, source='leaf', index=len(self.leaves))
    self._leaf[id(part)] = len(self.leaves)
    self.leaves.append(part)
    self.slots.append((origin, (*slots, slot)))
    self.cut.add(id(leaf))
    return part


def _slots_of(op: Op) -> list[slot_lib.Slot]:
  """The places that the results of a slice or split are, if it is one."""
  if op.name == 'split':
    axis, sizes = op.params['axis'], op.params['sizes']
    cuts = [(sum(sizes[:o]), n) for o, n in enumerate(sizes)]
  elif op.name == 'slice' and set(op.params['strides'] or [1]) == {1}:
    ends = list(zip(op.params['start_indices'], op.params['limit_indices'], strict=True))
    changed = [axis for axis, n in enumerate(op.ins[0].shape) if ends[axis] != (0, n)]
    if len(changed) != 1:
      return []
    axis = changed[0]
    cuts = [(ends[axis][0], ends[axis][1] - ends[axis][0])]
  else:
    return []
  whole = op.ins[0].shape[axis]
  if any(not n or whole % n or start % n or whole // n > _MAX_PLACES for start, n in cuts):
    return []
  return [slot_lib.Slot(axis, (1, whole // n, n), start // n) for start, n in cuts]


Cuts = list[tuple[int, slot_lib.Slot]]  # Operand, and what is taken of it.


def _elementwise(op: Op, slot: slot_lib.Slot) -> Cuts:
  rank = len(op.outs[0].shape)
  cuts = []
  for i, value in enumerate(op.ins):
    if value.shape and len(value.shape) != rank:
      raise _Failed
    if value.shape and value.shape[slot.dim] == slot.length:
      cuts.append((i, slot))
  return cuts


def _broadcast(op: Op, slot: slot_lib.Slot) -> Cuts:
  dims = op.params['broadcast_dimensions']
  if slot.dim not in dims or op.ins[0].shape[dims.index(slot.dim)] == 1:
    return []
  return [(0, dataclasses.replace(slot, dim=dims.index(slot.dim)))]


def _transpose(op: Op, slot: slot_lib.Slot) -> Cuts:
  return [(0, dataclasses.replace(slot, dim=op.params['permutation'][slot.dim]))]


def _squeeze(op: Op, slot: slot_lib.Slot) -> Cuts:
  rank = len(op.ins[0].shape)
  gone = {axis % rank for axis in op.params['dimensions']}
  kept = [axis for axis in range(rank) if axis not in gone]
  return [(0, dataclasses.replace(slot, dim=kept[slot.dim]))]


def _reshape(op: Op, slot: slot_lib.Slot) -> Cuts:
  """The axis of the operand in which the places lie."""
  outer, num, _ = slot.factors
  before = math.prod(op.outs[0].shape[: slot.dim]) * outer
  start = 1
  for dim, n in enumerate(op.ins[0].shape):
    if n > 1 and before % start == 0 and n % (before // start * num) == 0:
      return [
        (0, slot_lib.Slot(dim, (before // start, num, n // (before // start * num)), slot.place))
      ]
    start *= n
  raise _Failed


def _dot(op: Op, slot: slot_lib.Slot) -> Cuts:
  contracting, batch = op.params['dimension_numbers']
  if slot.dim < len(batch[0]):
    return [(i, dataclasses.replace(slot, dim=batch[i][slot.dim])) for i in (0, 1)]
  place = slot.dim - len(batch[0])
  for i in (0, 1):
    taken = {*contracting[i], *batch[i]}
    free = [axis for axis in range(len(op.ins[i].shape)) if axis not in taken]
    if place < len(free):
      return [(i, dataclasses.replace(slot, dim=free[place]))]
    place -= len(free)
  raise _Failed


def _scan_in(op: Op, slot: slot_lib.Slot) -> Cuts:
  return [(0, dataclasses.replace(slot, dim=slot.dim + 1))]


def _slice(op: Op, slot: slot_lib.Slot) -> Cuts:
  """A slice of other axes."""
  if op.outs[0].shape[slot.dim] != op.ins[0].shape[slot.dim]:
    raise _Failed
  return [(0, slot)]


_RULES: dict[str, Callable[[Op, slot_lib.Slot], Cuts]] = {
  **dict.fromkeys(_ELEMENTWISE, _elementwise),
  'broadcast_in_dim': _broadcast,
  'transpose': _transpose,
  'squeeze': _squeeze,
  'reshape': _reshape,
  'dot_general': _dot,
  'scan_in': _scan_in,
  'slice': _slice,
}


def _params(op: Op, shape: Sequence[int]) -> dict[str, object]:
  """The parameters of an operation that its new shape changes."""
  if op.name == 'broadcast_in_dim':
    return {'shape': tuple(shape)}
  if op.name == 'reshape':
    return {'new_sizes': tuple(shape)}
  if op.name == 'slice':
    limits = [
      n if out == before else limit
      for n, out, before, limit in zip(
        shape, op.outs[0].shape, op.ins[0].shape, op.params['limit_indices'], strict=True
      )
    ]
    return {'limit_indices': tuple(limits)}
  return {}
