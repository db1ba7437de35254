"""Finds permutations that a spec does not hold: see `blocks`.

Axes are labelled once more, where an axis that is cut or glued has a label for each piece. Then
units may be permuted differently for each unit of another set, as for each layer of a scan, if
every value that the permutation moves has both, and every operation passes both on together.
"""

from collections.abc import Mapping, Sequence

from wsjax.symmetry import blocks
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import atoms as atoms_lib
from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import rules

Label = atoms_lib.Label
Op = program_lib.Op
Value = program_lib.Value
# An atom on an axis: (atom, atoms that it is a product with, whether it is in no piece).
Occurrence = tuple[int, frozenset[int], bool]


def find(
  paths: Sequence[str], program: program_lib.Program, spec: spec_lib.Spec
) -> tuple[blocks.Blocks, ...]:
  """All sets of interchangeable units besides those that the spec holds."""
  found = _Found(paths, program)
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
  for leaf in spec.leaves:
    axes = []
    for length, axis in zip(leaf.shape, leaf.axes, strict=True):
      size = spec.group(id).size
      parts = (axis.outer, size, axis.inner) if axis.group == id else (length,)
      roles = ('other', 'units', 'other') if axis.group == id else ('other',)
      axes.append(tuple(map(blocks.Factor, parts, roles)))
    if any(axis.group == id for axis in leaf.axes):
      leaves.append((leaf.path, tuple(axes)))
  return blocks.Blocks(id, spec.group(id).size, tuple(leaves))


def _key(units: blocks.Blocks) -> object:
  """Equal for blocks that move the same elements alike."""
  return frozenset(
    (path, dim, units.size, elements)
    for path, axes in units.leaves
    for dim, factors in enumerate(axes)
    if (elements := blocks.elements(factors))
  )


class _Found:
  """Labels of a program with pieces; `leaves` has the leaves of every free atom."""

  def __init__(self, paths: Sequence[str], program: program_lib.Program):
    self._paths, self._program = paths, program
    self._axes = axes_lib.Axes(program, rules.FINE)
    uses = program.first_uses()
    order = sorted(range(len(paths)), key=lambda i: uses[i])
    for index in order:
      if uses[index] == len(program.ops):
        for label in self._axes.of(program.leaves[index]):
          self._axes.atoms.pin(label, 'unused')
    self._rows: dict[int, dict[int, list[Occurrence]]] = {}
    self.leaves: dict[int, list[int]] = {}
    for index in order:
      rows = self._occurrences(program.leaves[index])
      for atom in dict.fromkeys(atom for row in rows.values() for atom, _, _ in row):
        if not self._axes.atoms.reasons(atom):
          self.leaves.setdefault(atom, []).append(index)
    self._moves = self._moved()

  def blocks_of(
    self, atom: int, leaves: Sequence[int], per: Sequence[int], id: str | None
  ) -> blocks.Blocks:
    """The units of an atom, with a permutation for each unit of others."""
    roles: dict[int, str | int] = {beta: place for place, beta in enumerate(per)}
    roles[atom] = 'units'
    sizes = self._axes.atoms.size
    return blocks.Blocks(
      id,
      sizes(atom),
      tuple(
        (
          self._paths[i],
          tuple(self._factors(label, roles) for label in self._axes.of(self._program.leaves[i])),
        )
        for i in leaves
      ),
      tuple((self._name(leaves, beta), sizes(beta)) for beta in per),
    )

  def _factors(self, label: Label, roles: Mapping[int, str | int]) -> tuple[blocks.Factor, ...]:
    atoms = self._axes.atoms
    return tuple(
      blocks.Factor(
        atoms.size(atom),
        roles.get(atom, 'other'),
        tuple(self._factors(piece, roles) for piece, _ in atoms.pieces(atom) or ()),
      )
      for atom in atoms.expand(label)
    )

  def _name(self, leaves: Sequence[int], atom: int) -> str:
    """The first axis of a leaf with an atom."""
    for index in leaves:
      for axis, row in self._occurrences(self._program.leaves[index]).items():
        if any(atom == other for other, _, _ in row):
          return f'{self._paths[index]}:{axis}'
    raise AssertionError(atom)

  def _occurrences(self, value: Value) -> dict[int, list[Occurrence]]:
    """Axis -> atoms on it; the rounds of scan s around a value are its axis -1 - s."""
    if id(value) not in self._rows:
      rows = {axis: list(self._within(label)) for axis, label in enumerate(self._axes.of(value))}
      for scan in value.scans:
        rows[-1 - scan] = list(self._within(self._axes.scans.get(scan, ())))
      self._rows[id(value)] = rows
    return self._rows[id(value)]

  def _within(self, label: Label) -> list[Occurrence]:
    factors = self._axes.atoms.expand(label)
    found: list[Occurrence] = []
    for place, atom in enumerate(factors):
      beside = frozenset([*factors[:place], *factors[place + 1 :]])
      pieces = self._axes.atoms.pieces(atom)
      if pieces is None:
        found.append((atom, beside, True))
      for piece, _ in pieces or ():
        found += [(a, others | beside, False) for a, others, _ in self._within(piece)]
    return found

  def _moved(self) -> dict[int, frozenset[int]]:
    """Id of a value -> atoms whose permutation may change it."""
    free = frozenset(self.leaves)

    def on(value: Value) -> frozenset[int]:
      rows = self._occurrences(value).values()
      return free.intersection(atom for row in rows for atom, _, _ in row)

    moved = {id(leaf): on(leaf) for leaf in self._program.leaves}
    for op in self._program.ops:
      some = frozenset[int]().union(*(moved.get(id(value), frozenset()) for value in op.ins))
      for out in op.outs:
        # What comes around a loop is not known yet.
        moved[id(out)] = on(out) if op.name == 'loop' else some and some & on(out)
    return moved

  def _at(self, value: Value, atom: int, beta: int) -> int | None:
    """The axis of the one beta that all places of an atom have; None if there is none."""
    rows = self._occurrences(value)
    axes = [(axis, top) for axis, row in rows.items() for a, _, top in row if a == beta]
    if len(axes) != 1:
      return None
    at, top = axes[0]
    for axis, row in rows.items():
      for a, beside, _ in row:
        if a == atom and not (beta in beside if axis == at else top):
          return None
    return at

  def selectors(self, atom: int) -> tuple[int, ...]:
    """The atoms for each unit of which there may be a permutation of its own."""
    leaves = [self._program.leaves[i] for i in self.leaves[atom]]
    rows = self._occurrences(leaves[0]).values()
    betas = dict.fromkeys(beta for row in rows for beta, _, _ in row if beta != atom)
    for leaf in leaves:
      betas = {beta: None for beta in betas if self._at(leaf, atom, beta) is not None}
    for op in self._program.ops:
      if not betas:
        break
      if any(atom in self._moves.get(id(value), ()) for value in op.ins):
        betas = {beta: None for beta in betas if self._selects(op, atom, beta)}
    return tuple(betas)

  def _selects(self, op: Op, atom: int, beta: int) -> bool:
    """Whether an operation keeps the units of an atom apart by those of another."""
    at: tuple[dict[int, int], ...] = ({}, {})  # The axis of beta in operands and in results.
    for values, found_at in zip((op.ins, op.outs), at, strict=True):
      for i, value in enumerate(values):
        if value.number is None and atom in self._moves.get(id(value), ()):
          axis = self._at(value, atom, beta)
          if axis is None:
            return False
          found_at[i] = axis
    ins, outs = at
    trace = self._axes.traces[id(op)]
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
      for link in self._axes.traces[id(op)].links
    )
