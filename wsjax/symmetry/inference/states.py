"""Propagates a group action on hidden units through a program.

A law (`laws`, `phase`) says how an action changes a parameter along an axis, for instance that it
is multiplied by a power of the unit's scale, and how the primitives carry that on. This file walks
the program with it, one state per value, axis and atom, again and again until the states of loops
stay as they are.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
States = list[tuple[Any, ...]]
Place = tuple[int, ...]  # (leaf, axis), and where its piece starts if the axis has pieces.
Occurrence = tuple[int, int, int]  # An atom, and where on an axis its piece starts and stops.
_MAX_ROUNDS = 20
# Results whose axes may be other pieces than those of the operands.
_PIECEWISE = frozenset(('slice', 'split', 'pad', 'concatenate'))


class Broken(Exception):  # noqa: N818
  """An operation does not carry the action on units on."""


class Law:
  """How an action on units carries over from operands to results.

  Attributes:
    breaks: atom -> names of the primitives that do not carry the action on.
  """

  FREE: Any = ()  # State of a value that the action leaves as it is.
  ZERO: Any = 'zero'  # State of a value that is zero.

  def __init__(self):
    self.breaks: dict[int, set[str]] = {}

  def start(self) -> None:
    """Called before every walk from the first operation to the last."""

  def leaf(self, leaf: program_lib.Value, place: Place, atom: int) -> Any:
    """State of a parameter along an axis."""
    raise NotImplementedError

  def combine(self, op: Op, atom: int, states: Sequence[Any], linked: Sequence[bool]) -> Any:
    """State of a result, from those of all operands; may raise Broken."""
    raise NotImplementedError

  def contract(self, op: Op, atom: int, pair: tuple[int, int], states: Sequence[Any]) -> None:
    """Raises Broken unless a sum of products over units is invariant."""

  def reduce(self, op: Op, atom: int, state: Any) -> None:
    """Raises Broken unless an operation over units is invariant."""

  def broken(self, atom: int, name: str) -> None:
    """Notes that an operation of that name broke the law."""
    self.breaks.setdefault(atom, set()).add(name)


class Walk:
  """Propagation of a law through a labelled program, for the atoms that are kept."""

  def __init__(self, program: program_lib.Program, axes: axes_lib.Axes, kept: Collection[int]):
    self._program, self._axes = program, axes
    self._kept = frozenset(kept)
    self._atoms: dict[int, list[tuple[int, ...]]] = {}
    self._spans: dict[int, list[tuple[Occurrence, ...]]] = {}
    self._states: dict[int, States] = {}

  def follow(self, law: Law) -> None:
    """Walks until the states of all loops stay as they are."""
    self._states = {
      id(leaf): [
        tuple(law.leaf(leaf, place, atom) for place, (atom, _, _) in row)
        for row in self.places(leaf)
      ]
      for leaf in self._program.leaves
    }
    loops = [op for op in self._program.ops if op.name == 'loop']
    for _ in range(_MAX_ROUNDS):
      before = [self._states.get(id(op.outs[0])) for op in loops]
      law.start()
      for op in self._program.ops:
        self._step(law, op)
      if before == [self._states.get(id(op.outs[0])) for op in loops]:
        return
    for op in loops:
      for atom in {a for atoms in self.atoms(op.outs[0]) for a in atoms}:
        law.broken(atom, op.name)

  def atoms(self, value: program_lib.Value) -> list[tuple[int, ...]]:
    """The atoms of each axis of a value that are followed."""
    if id(value) not in self._atoms:
      rows = self.occurrences(value)
      self._atoms[id(value)] = [tuple(atom for atom, _, _ in row) for row in rows]
    return self._atoms[id(value)]

  def occurrences(self, value: program_lib.Value) -> list[tuple[Occurrence, ...]]:
    """The same with their places."""
    if id(value) not in self._spans:
      self._spans[id(value)] = [
        tuple(
          (atom, span.start, span.stop)
          for span in self._axes.atoms.spread(label)
          for atom in span.atoms
          if atom in self._kept
        )
        for label in self._axes.of(value)
      ]
    return self._spans[id(value)]

  def places(self, leaf: program_lib.Value) -> list[list[tuple[Place, Occurrence]]]:
    """The atoms of each axis of a parameter that are followed, by place."""
    rows: list[list[tuple[Place, Occurrence]]] = []
    for axis, row in enumerate(self.occurrences(leaf)):
      whole = (0, leaf.shape[axis])
      rows.append([
        ((leaf.index, axis) if cut == whole else (leaf.index, axis, cut[0]), (atom, *cut))
        for atom, *ends in row for cut in [tuple(ends)]
      ])  # fmt: skip
    return rows

  def _step(self, law: Law, op: Op) -> None:
    trace = self._axes.traces[id(op)]
    for i, axis, j, other in trace.contracts:
      value, along = (op.ins[i], axis) if op.ins[i].number is None else (op.ins[j], other)
      atoms = self.atoms(value)[along]
      one = self._along(law, op.ins[i], axis, len(atoms))
      two = self._along(law, op.ins[j], other, len(atoms))
      for atom, *states in zip(atoms, one, two, strict=True):
        self._try(law, op, atom, law.contract, (i, j), states)
    for i, axis in trace.reduced:
      if op.ins[i].number is None:
        atoms = self.atoms(op.ins[i])[axis]
        states = self._along(law, op.ins[i], axis, len(atoms))
        for atom, state in zip(atoms, states, strict=True):
          self._try(law, op, atom, law.reduce, state)
    if op.name == 'close':
      self._close(law, op)
    elif trace.flat:
      self._flat(law, op)
    else:
      for o, out in enumerate(op.outs):
        self._states[id(out)] = [self._result(law, op, o, axis) for axis in range(len(out.shape))]

  def _result(self, law: Law, op: Op, o: int, axis: int) -> tuple[Any, ...]:
    """States of a result along one axis."""
    atoms = self.atoms(op.outs[o])[axis]
    if not atoms:
      return ()
    if op.name in _PIECEWISE:
      return tuple(
        self._piece(law, op, o, axis, occurrence)
        for occurrence in self.occurrences(op.outs[o])[axis]
      )
    # States along this axis, of each operand that is linked with it.
    froms: list[tuple[Any, ...] | None] = [None] * len(op.ins)
    for i, from_axis, to, to_axis in self._axes.traces[id(op)].links:
      if (to, to_axis) == (o, axis):
        froms[i] = self._along(law, op.ins[i], from_axis, len(atoms))
    if op.name == 'loop':
      back = op.needs[0]
      if back.source != 'made' or id(back) in self._states:
        froms.append(self._along(law, back, axis, len(atoms)))
    if any(f is not None and len(f) != len(atoms) for f in froms):
      for atom in atoms:
        law.broken(atom, op.name)
      return (law.ZERO,) * len(atoms)
    rest = [self._unlinked(law, value) for value in (*op.ins, *op.needs[:1])]
    linked = [f is not None for f in froms]
    states = []
    for place, atom in enumerate(atoms):
      given = [rest[i] if f is None else f[place] for i, f in enumerate(froms)]
      states.append(self._try(law, op, atom, law.combine, given, linked))
    return tuple(states)

  def _piece(self, law: Law, op: Op, o: int, axis: int, occurrence: Occurrence) -> Any:
    """State of a piece of an axis of a result: that of all pieces of operands that it has."""
    atom, start, stop = occurrence
    states: list[Any] = []
    for i, from_axis, to, to_axis in self._axes.traces[id(op)].links:
      value, shift = op.ins[i], _shift(op, i, o, axis)
      if (to, to_axis) != (o, axis) or not _meet(start, stop, shift, value.shape[from_axis]):
        continue
      if value.number is not None:
        states.append(self._unlinked(law, value))
        continue
      row = self.occurrences(value)[from_axis]
      known = zip(row, self._along(law, value, from_axis, len(row)), strict=True)
      found = [
        state for (a, one, two), state in known
        if a == atom and _meet(start, stop, shift + one, two - one)
      ]  # fmt: skip
      if not found:
        law.broken(atom, op.name)
      states += found
    if op.name == 'pad':
      low, n = op.params['padding_config'][axis][0], op.ins[0].shape[axis]
      others = [c for i, c in enumerate(op.params['padding_config']) if i != axis]
      if start < low or stop > low + n or any(map(any, others)):
        states.append(self._unlinked(law, op.ins[1]))
    if not states:
      law.broken(atom, op.name)
      return law.ZERO
    return self._try(law, op, atom, law.combine, states, [True] * len(states))

  def _try(self, law: Law, op: Op, atom: int, rule: Any, *args: Any) -> Any:
    try:
      return rule(op, atom, *args)
    except Broken:
      law.broken(atom, op.name)
      return law.ZERO

  def _unlinked(self, law: Law, value: program_lib.Value) -> Any:
    return law.ZERO if value.number == 0 else law.FREE

  def vectors(self, value: program_lib.Value, atom: int) -> list[int]:
    """Axes of a value along which the last law acts on an atom."""
    states = self._states.get(id(value), ())
    return [
      axis
      for axis, row in enumerate(states)
      for known, state in zip(self.atoms(value)[axis], row, strict=True)
      if known == atom and state not in (Law.FREE, Law.ZERO)
    ]

  def _along(self, law: Law, value: program_lib.Value, axis: int, length: int) -> tuple[Any, ...]:
    """States of a value along an axis with that many followed atoms."""
    if value.number is not None:
      return (self._unlinked(law, value),) * length
    if (states := self._states.get(id(value))) is None:  # No operation made it.
      return (law.FREE,) * len(self.atoms(value)[axis])
    return states[axis]

  def _close(self, law: Law, op: Op) -> None:
    """The result of the body of a loop transforms as its carry."""
    inside, result = op.ins
    for axis, atoms in enumerate(self.atoms(inside)):
      for place, atom in enumerate(atoms):
        pair = [self._along(law, value, axis, len(atoms))[place] for value in (inside, result)]
        self._try(law, op, atom, law.combine, pair, [True, True])

  def _flat(self, law: Law, op: Op) -> None:
    """A reshape: the same atoms in the same order."""
    out = op.outs[0]
    rows = self.atoms(op.ins[0])
    before = [atom for row in rows for atom in row]
    states = [
      state
      for axis, row in enumerate(rows)
      for state in self._along(law, op.ins[0], axis, len(row))
    ]
    after = [a for along in self.atoms(out) for a in along]
    if before != after:  # An axis has pieces; atoms whose states are all alike keep them.
      known: dict[int, set[Any]] = {}
      for atom, state in zip(before, states, strict=True):
        known.setdefault(atom, set()).add(state)
      for atom in {*before, *after}:
        if len(known.get(atom, ())) != 1:
          law.broken(atom, op.name)
          known[atom] = {law.ZERO}
      states = [next(iter(known[atom])) for atom in after]
    rest = iter(states)
    self._states[id(out)] = [tuple(itertools.islice(rest, len(atoms))) for atoms in self.atoms(out)]


def _shift(op: Op, i: int, o: int, axis: int) -> int:
  """Where the first element of operand i along an axis lies in result o."""
  params = op.params
  if op.name == 'slice':
    return -params['start_indices'][axis]
  if op.name == 'split':
    return -sum(params['sizes'][:o]) if axis == params['axis'] else 0
  if op.name == 'pad':
    return params['padding_config'][axis][0]
  before = op.ins[:i] if axis == params['dimension'] else []
  return sum(value.shape[axis] for value in before)


def _meet(start: int, stop: int, other: int, length: int) -> bool:
  """Whether elements start to stop are also among those from another one on."""
  return other < stop and start < other + length
