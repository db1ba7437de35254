"""Propagates a group action on hidden units through a program.

A law (`laws`, `phase`) says how an action changes a parameter along an axis, for instance that it
is multiplied by a power of the unit's scale, and how the primitives carry that on. This file walks
the program with it, one state per value, axis and atom. States of loops are found by going round
until they stay.
"""

from collections.abc import Collection, Sequence
from typing import Any

from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import program as program_lib

Op = program_lib.Op
States = list[tuple[Any, ...]]
_MAX_ROUNDS = 20


class Broken(Exception):  # noqa: N818
  """An operation does not carry the action on units on."""


class Law:
  """How an action on units carries over from operands to results.

  Attributes:
    FREE: state of a value that the action leaves as it is.
    ZERO: state of a value that is zero.
    breaks: atom -> names of the primitives that do not carry the action on.
  """

  FREE: Any = ()
  ZERO: Any = 'zero'

  def __init__(self):
    self.breaks: dict[int, set[str]] = {}

  def start(self) -> None:
    """Called before every walk from the first operation to the last."""

  def leaf(self, leaf: program_lib.Value, axis: int, atom: int) -> Any:
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
  """Propagation of a law through a program.

  Args:
    program: to be walked through.
    axes: its labels.
    kept: the atoms that are followed.
  """

  def __init__(self, program: program_lib.Program, axes: axes_lib.Axes, kept: Collection[int]):
    self._program, self._axes = program, axes
    self._kept = frozenset(kept)
    self._atoms: dict[int, list[tuple[int, ...]]] = {}
    self._states: dict[int, States] = {}

  def follow(self, law: Law) -> None:
    """Walks until the states of all loops stay as they are."""
    self._states = {
      id(leaf): [
        tuple(law.leaf(leaf, axis, atom) for atom in atoms)
        for axis, atoms in enumerate(self.atoms(leaf))
      ]
      for leaf in self._program.leaves
    }
    for _ in range(_MAX_ROUNDS):
      before = self._loops()
      self._round(law)
      if self._loops() == before:
        return
    for op in self._program.ops:
      if op.name == 'loop':
        for atom in {a for atoms in self.atoms(op.outs[0]) for a in atoms}:
          law.broken(atom, op.name)

  def atoms(self, value: program_lib.Value) -> list[tuple[int, ...]]:
    """The atoms of each axis of a value that are followed."""
    if id(value) not in self._atoms:
      expand = self._axes.atoms.expand
      self._atoms[id(value)] = [
        tuple(atom for atom in expand(label) if atom in self._kept)
        for label in self._axes.of(value)
      ]
    return self._atoms[id(value)]

  def _loops(self) -> list[States | None]:
    return [self._states.get(id(op.outs[0])) for op in self._program.ops if op.name == 'loop']

  def _round(self, law: Law) -> None:
    """One walk from the first operation to the last."""
    law.start()
    for op in self._program.ops:
      self._step(law, op)

  def _step(self, law: Law, op: Op) -> None:
    trace = self._axes.traces[id(op)]
    for i, axis, j, other in trace.contracts:
      atoms = self.atoms(op.ins[i if op.ins[i].number is None else j])[
        axis if op.ins[i].number is None else other
      ]
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
    froms: list[tuple[Any, ...] | None] = [None] * len(op.ins)
    for i, from_axis, to, to_axis in self._axes.traces[id(op)].links:
      if (to, to_axis) == (o, axis):
        froms[i] = self._along(law, op.ins[i], from_axis, len(atoms))
    if op.name == 'loop':
      back = op.needs[0]
      if back.source != 'made' or id(back) in self._states:
        froms.append(self._along(law, back, axis, len(atoms)))
    operands = [*op.ins, *op.needs[:1]]
    states = []
    for place, atom in enumerate(atoms):
      if any(f is not None and len(f) != len(atoms) for f in froms):
        law.broken(atom, op.name)
        states.append(law.ZERO)
        continue
      rest = [self._unlinked(law, value) for value in operands]
      given = [rest[i] if f is None else f[place] for i, f in enumerate(froms)]
      linked = [f is not None for f in froms]
      states.append(self._try(law, op, atom, law.combine, given, linked))
    return tuple(states)

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

  def _of(self, law: Law, value: program_lib.Value) -> States:
    """States of a value; free where no operation made them."""
    if value.number is not None:
      return [()] * len(value.shape)
    states = self._states.get(id(value))
    if states is None:
      states = [(law.FREE,) * len(atoms) for atoms in self.atoms(value)]
    return states

  def _along(self, law: Law, value: program_lib.Value, axis: int, length: int) -> tuple[Any, ...]:
    """States of a value along an axis with that many followed atoms."""
    if value.number is not None:
      return (self._unlinked(law, value),) * length
    return self._of(law, value)[axis]

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
    states = [s for along in self._of(law, op.ins[0]) for s in along]
    before = [a for along in self.atoms(op.ins[0]) for a in along]
    after = [a for along in self.atoms(out) for a in along]
    if before != after:
      for atom in {*before, *after}:
        law.broken(atom, op.name)
      states = [law.ZERO] * len(after)
    self._states[id(out)], start = [], 0
    for atoms in self.atoms(out):
      stop = start + len(atoms)
      self._states[id(out)].append(tuple(states[start:stop]))
      start = stop
