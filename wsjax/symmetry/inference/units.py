"""Finds permutations that a spec does not hold: see `blocks`.

Axes are labelled once more, where an axis that is cut or glued has a label for each piece. Then
units may be permuted differently for each unit of another set, as for each layer of a scan, if
every value that the permutation moves has both, and every operation passes both on together.
"""

import collections
import math
from collections.abc import Mapping, Sequence

from wsjax.symmetry import blocks
from wsjax.symmetry import slot as slot_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import atoms as atoms_lib
from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import choices as choices_lib
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import rules
from wsjax.symmetry.inference import slots as slots_lib

Label = atoms_lib.Label
Op = program_lib.Op
Value = program_lib.Value
Part = tuple[str, tuple[tuple[blocks.Factor, ...], ...], slots_lib.Slots]
# An atom on an axis: (atom, atoms that it is a product with, whether it is in no piece).
Occurrence = tuple[int, frozenset[int], bool]


def find(found: 'Units', spec: spec_lib.Spec) -> tuple[blocks.Blocks, ...]:
  """All sets of interchangeable units besides those that the spec holds."""
  known = {_key(_group(spec, group.id)): group.id for group in spec.groups}
  result = []
  for atom, leaves in found.leaves.items():
    # The part that moves alike in all blocks may be a group of the spec.
    id = known.get(_key(found.blocks_of(atom, leaves, (), None)))
    per = found.selectors(atom)
    if per or id is None:
      result.append(found.blocks_of(atom, leaves, per, id))
  return tuple(result)


def _group(spec: spec_lib.Spec, id: str) -> blocks.Blocks:
  """A group of a spec as blocks."""
  leaves = []
  size = spec.group(id).size
  for leaf in spec.leaves:
    if all(axis.group != id for axis in leaf.axes):
      continue
    axes = []
    for length, axis in zip(leaf.shape, leaf.axes, strict=True):
      parts = (axis.outer, size, axis.inner) if axis.group == id else (length,)
      roles = ('other', 'units', 'other') if axis.group == id else ('other',)
      axes.append(tuple(map(blocks.Factor, parts, roles)))
    leaves.append((leaf.path, tuple(axes)))
  return blocks.Blocks(id, size, tuple(leaves))


def _key(units: blocks.Blocks) -> object:
  """Equal for blocks that move the same elements alike."""
  return frozenset(
    (path, slots, dim, units.size, elements)
    for path, axes, slots in units.parts
    for dim, factors in enumerate(axes)
    if (elements := blocks.elements(factors))
  )


def _whole(parts: Sequence[Part]) -> list[Part]:
  """Parts of parameters, all parts of one that has the same units in each as a whole."""
  families = collections.defaultdict(list)
  for path, axes, slots in parts:
    place = slots[-1].place if slots else 0
    family = (slots[:-1], slots[-1].dim, slots[-1].factors) if slots else ()
    families[path, axes, family].append(place)
  result: list[Part] = []
  for (path, axes, family), places in families.items():
    rest, dim, (outer, num, _) = family or ((), 0, (1, 1, 1))
    at = next((i for i in range(len(axes[dim]) + 1) if _length(axes[dim][:i]) == outer), None)
    if family and at is not None and sorted(places) == list(range(num)):
      row = (*axes[dim][:at], blocks.Factor(num), *axes[dim][at:])
      result.append((path, (*axes[:dim], row, *axes[dim + 1 :]), rest))
    else:
      for place in places:
        slot = (slot_lib.Slot(*family[1:], place),) if family else ()
        result.append((path, axes, (*rest, *slot)))
  return result


def _length(factors: Sequence[blocks.Factor]) -> int:
  return math.prod(factor.size for factor in factors)


class Units:
  """Labels of a program with pieces.

  Attributes:
    paths: of the leaves.
    slots: of the leaves that are parts of a parameter.
    program: of the function, with a leaf for each part of a stacked parameter.
    axes: its labels.
    order: leaves in forward order.
    leaves: free atom -> leaves that it lies along, in forward order.
    pairs: the same of atoms that are pairs which are rotated.
  """

  def __init__(self, paths: Sequence[str], program: program_lib.Program):
    program, parts = slots_lib.apart(program)
    self.program = program
    self.paths = [paths[origin] for origin, _ in parts]
    self.slots = [slots for _, slots in parts]
    self.axes = axes_lib.Axes(program, rules.FINE)
    self._choices = choices_lib.Choices(program, self.axes)
    uses = program.first_uses()
    self.order = sorted(range(len(self.paths)), key=lambda i: uses[i])
    for index in self.order:
      if uses[index] == len(program.ops):
        for label in self.axes.of(program.leaves[index]):
          self.axes.atoms.pin(label, 'unused')
    self._rows: dict[int, dict[int, list[Occurrence]]] = {}
    self.leaves: dict[int, list[int]] = {}
    self.pairs: dict[int, list[int]] = {}
    for index in self.order:
      rows = self._occurrences(program.leaves[index])
      for atom in dict.fromkeys(atom for row in rows.values() for atom, _, _ in row):
        if not self.axes.atoms.reasons(atom):
          self.leaves.setdefault(atom, []).append(index)
        elif self.axes.pairs(atom):
          self.pairs.setdefault(atom, []).append(index)
    self._moves = self._moved()
    self._selectors: dict[int, tuple[int, ...]] = {}

  def blocks_of(
    self, atom: int, leaves: Sequence[int], per: Sequence[int], id: str | None
  ) -> blocks.Blocks:
    """The units of an atom, with a permutation for each unit of others."""
    roles: dict[int, str | int] = {beta: place for place, beta in enumerate(per)}
    roles[atom] = 'units'
    sizes = self.axes.atoms.size
    parts = [
      (
        self.paths[i],
        tuple(self._factors(label, roles) for label in self.axes.of(self.program.leaves[i])),
        self.slots[i],
      )
      for i in leaves
    ]
    if any(slots for _, _, slots in parts):
      parts = _whole(parts)
    return blocks.Blocks(
      id,
      sizes(atom),
      tuple((path, axes) for path, axes, _ in parts),
      tuple((self.name(leaves, beta), sizes(beta)) for beta in per),
      tuple(slots for *_, slots in parts) if any(slots for *_, slots in parts) else (),
    )

  def _factors(self, label: Label, roles: Mapping[int, str | int]) -> tuple[blocks.Factor, ...]:
    atoms = self.axes.atoms
    return tuple(
      blocks.Factor(
        atoms.size(atom),
        roles.get(atom, 'other'),
        tuple(self._factors(piece, roles) for piece, _ in atoms.pieces(atom) or ()),
      )
      for atom in atoms.expand(label)
    )

  def name(self, leaves: Sequence[int], atom: int) -> str:
    """The first axis of a leaf with an atom."""
    for index in leaves:
      for axis, row in self._occurrences(self.program.leaves[index]).items():
        if any(atom == other for other, _, _ in row):
          return f'{self.paths[index]}:{axis}'
    raise AssertionError(atom)

  def _occurrences(self, value: Value) -> dict[int, list[Occurrence]]:
    """Axis -> atoms on it; the rounds of scan s around a value are its axis -1 - s."""
    if id(value) not in self._rows:
      rows = {axis: list(self._within(label)) for axis, label in enumerate(self.axes.of(value))}
      for scan in value.scans:
        rows[-1 - scan] = list(self._within(self.axes.scans.get(scan, ())))
      self._rows[id(value)] = rows
    return self._rows[id(value)]

  def _within(self, label: Label) -> list[Occurrence]:
    factors = self.axes.atoms.expand(label)
    found: list[Occurrence] = []
    for place, atom in enumerate(factors):
      beside = frozenset([*factors[:place], *factors[place + 1 :]])
      pieces = self.axes.atoms.pieces(atom)
      if pieces is None:
        found.append((atom, beside, True))
      for piece, _ in pieces or ():
        found += [(a, others | beside, False) for a, others, _ in self._within(piece)]
    return found

  def _moved(self) -> dict[int, frozenset[int]]:
    """Id of a value -> atoms whose permutation may change it."""
    free = frozenset((*self.leaves, *self.pairs))

    def on(value: Value) -> frozenset[int]:
      rows = self._occurrences(value).values()
      return free.intersection(atom for row in rows for atom, _, _ in row)

    moved = {id(leaf): on(leaf) for leaf in self.program.leaves}
    for op in self.program.ops:
      some = frozenset[int]().union(*(moved.get(id(value), frozenset()) for value in op.ins))
      for out in op.outs:
        # What comes around a loop is not known yet.
        moved[id(out)] = on(out) if op.name == 'loop' else some and some & on(out)
    return moved

  def _at(self, value: Value, atom: int, beta: int) -> int | None:
    """The axis of the one beta that all places of an atom have; None if there is none.

    Pieces of that axis may have it once each.
    """
    rows = self._occurrences(value)
    axes = [(axis, at) for axis, row in rows.items() for at in row if at[0] == beta]
    if len({axis for axis, _ in axes}) != 1 or any(beta in beside for _, (_, beside, _) in axes):
      return None
    at, top = axes[0][0], axes[0][1][2]
    for axis, row in rows.items():
      for a, beside, _ in row:
        if a == atom and not (beta in beside if axis == at else top):
          return None
    return at

  def selectors(self, atom: int) -> tuple[int, ...]:
    """The atoms for each unit of which there may be a permutation of its own."""
    if atom not in self._selectors:
      self._selectors[atom] = self._find_selectors(atom)
    return self._selectors[atom]

  def _find_selectors(self, atom: int) -> tuple[int, ...]:
    leaves = [self.program.leaves[i] for i in self.pairs.get(atom) or self.leaves[atom]]
    rows = self._occurrences(leaves[0]).values()
    betas = dict.fromkeys(beta for row in rows for beta, _, _ in row if beta != atom)
    for leaf in leaves:
      betas = {beta: None for beta in betas if self._at(leaf, atom, beta) is not None}
    moving = [
      op for op in self.program.ops if any(atom in self._moves.get(id(v), ()) for v in op.ins)
    ]

    def selects(beta: int) -> bool:
      chosen: dict[int, choices_lib.Place] = {}
      return all(self._selects(op, atom, beta, chosen) for op in moving)

    return tuple(beta for beta in betas if selects(beta))

  def _selects(self, op: Op, atom: int, beta: int, chosen: dict[int, choices_lib.Place]) -> bool:
    """Whether an operation keeps the units of an atom apart by those of another.

    Units that an index chooses are noted in `chosen`, id of a value -> where.
    """
    at: tuple[dict[int, int], ...] = ({}, {})  # The axis of beta in operands and in results.
    moved = [
      (i, value)
      for i, value in enumerate(op.ins)
      if value.number is None and atom in self._moves.get(id(value), ())
    ]
    if self._choices.of.get(id(op)) or any(id(value) in chosen for _, value in moved):
      places = {}
      for i, value in moved:
        axis = self._at(value, atom, beta)
        if id(value) not in chosen and axis is None:
          return False
        places[i] = chosen.get(id(value)) or choices_lib.Place((axis,))
      found = self._chosen(op, atom, places)
      if any(place.key for place in (*places.values(), *(found or {}).values())):
        chosen.update((id(op.outs[o]), place) for o, place in (found or {}).items())
        return found is not None
    for values, found_at in zip((op.ins, op.outs), at, strict=True):
      for i, value in enumerate(values):
        if value.number is None and atom in self._moves.get(id(value), ()):
          axis = self._at(value, atom, beta)
          if axis is None:
            return False
          found_at[i] = axis
    ins, outs = at
    trace = self.axes.traces[id(op)]
    if op.name == 'close':
      return len(set(ins.values())) <= 1
    if trace.flat:
      return (
        all(i >= 0 for i in (*ins.values(), *outs.values()))
        or len({*ins.values(), *outs.values()}) == 1
      )
    links = {*trace.links, *self._rounds(op)}
    for o in outs:
      for i in ins:
        if self._reaches(op, atom, i, o) and (i, ins[i], o, outs[o]) not in links:
          return False
    for i, axis, j, _ in trace.contracts:
      if i not in ins or j not in ins or not self._on(op.ins[i], axis, atom):
        continue
      pair = (i, ins[i], j, ins[j])
      both = {(o, a) for k, b, o, a in links if (k, b) == pair[:2]} & {
        (o, a) for k, b, o, a in links if (k, b) == pair[2:]
      }
      if pair not in trace.contracts and not both:
        return False
    return True

  def _chosen(
    self, op: Op, atom: int, places: Mapping[int, choices_lib.Place]
  ) -> dict[int, choices_lib.Place] | None:
    """Places in results of units that an index chose; None if an operation mixes them."""
    trace = self.axes.traces[id(op)]
    links = set(trace.links)
    for i, axis, j, other in trace.contracts if op.name != 'ragged_dot_general' else ():
      if not (self._on(op.ins[i], axis, atom) or self._on(op.ins[j], other, atom)):
        continue
      if i not in places or j not in places or places[i].key != places[j].key:
        return None
      for one, two in zip(places[i].axes, places[j].axes, strict=True):
        both = {(o, a) for k, b, o, a in links if (k, b) == (i, one)} & {
          (o, a) for k, b, o, a in links if (k, b) == (j, two)
        }
        if (i, one, j, two) not in trace.contracts and not both:
          return None
    found = self._choices.passed(op, places, lambda i, o: self._reaches(op, atom, i, o))
    kept = (o for o, out in enumerate(op.outs) if atom in self._moves.get(id(out), ()))
    return None if found is None or set(kept) - set(found) else found

  def _rounds(self, op: Op) -> set[tuple[int, int, int, int]]:
    """Links between the rounds of scans."""
    links = set()
    for i, value in enumerate(op.ins):
      for o, out in enumerate(op.outs):
        links |= {(i, -1 - s, o, -1 - s) for s in out.scans if s in value.scans}
        if op.name == 'scan_in':
          links.add((i, 0, o, -1 - out.scans[-1]))
        if op.name == 'scan_out' and len(value.scans) > len(out.scans):
          links.add((i, -1 - value.scans[len(out.scans)], o, 0))
    return links

  def _on(self, value: Value, axis: int, atom: int) -> bool:
    return any(a == atom for a, _, _ in self._occurrences(value)[axis])

  def _reaches(self, op: Op, atom: int, i: int, o: int) -> bool:
    """Whether units of operand i are part of result o along a linked axis."""
    return any(
      link[0] == i and link[2] == o and self._on(op.ins[i], link[1], atom)
      for link in self.axes.traces[id(op)].links
    )
