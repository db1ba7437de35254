"""Builds gauges: matrices that mix units, one per head where heads stay apart, and scales."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from wsjax.symmetry import gauge
from wsjax.symmetry.inference import program as program_lib

if TYPE_CHECKING:
  from wsjax.symmetry.inference import groups

Op = program_lib.Op
Value = program_lib.Value


def matrices(found: 'groups.Found', ids: Mapping[int, str]) -> tuple[gauge.Gauge, ...]:
  """Gauges of matrices; a unit that lies twice along one axis has none."""
  linear = found.linear
  atoms = [
    atom
    for atom, places in (*found.places.items(), *found.pairs.items())
    if atom not in linear.breaks
    and (len(places) > 1 or atom in linear.orthogonal)
    and all(found.atoms(place).count(atom) == 1 for place in places)
  ]
  per = selectors(found, atoms)
  gauges = []
  for atom in atoms:
    orthogonal, pairs = atom in linear.orthogonal, atom in found.pairs
    axes = []
    for place in found.pairs[atom] if pairs else found.places[atom]:
      power = -1 if not orthogonal and linear.inverse(atom, place) else 1
      axes.append(_axis(found, place, atom, power, per[atom]))
    if axes[0].power < 0:  # Incoming weights have A.
      axes = [gauge.GaugeAxis(**{**vars(a), 'power': -a.power}) for a in axes]
    names = tuple((_name(found, ids, beta), found.size(beta)) for beta in per[atom])
    kind = gauge.matrices(orthogonal=orthogonal, pairs=pairs)
    gauges.append(gauge.Gauge(kind, ids.get(atom), found.size(atom), tuple(axes), names))
  return tuple(gauges)


def rescalings(
  found: 'groups.Found', laws: 'groups.Laws', ids: Mapping[int, str]
) -> tuple[gauge.Gauge, ...]:
  """Scales and signs besides those of the spec and of gauges, as a basis of their powers."""
  linear = [a for a in (*found.places, *found.pairs) if a not in found.linear.breaks]
  within = {beta for betas in selectors(found, linear).values() for beta in betas}
  gauges = []
  for law in (laws.scale, laws.sign):
    for atom, places in found.places.items():
      twice = any(found.atoms(place).count(atom) > 1 for place in places)
      if atom in linear or atom in within or twice:
        continue
      basis = law.solutions(atom, places)
      if atom in ids and laws.holds(law, found, atom):
        basis = basis[1:]  # With the kind of the group, which all of the basis take part in.
      for vector in basis:
        if law.MODULUS == 0 and next(iter(vector.values())) < 0:
          vector = {place: -power for place, power in vector.items()}
        axes = tuple(_axis(found, place, atom, power) for place, power in vector.items())
        gauges.append(gauge.Gauge(law.KIND, ids.get(atom), found.size(atom), axes))
  return tuple(gauges)


def _axis(
  found: 'groups.Found', place: tuple[int, int], atom: int, power: int, per: Iterable[int] = ()
) -> gauge.GaugeAxis:
  rows = [found.atoms(axis) for axis in found.axes_of(place[0])]
  flat = [a for row in rows for a in row]
  before = sum(map(len, rows[: place[1]]))
  return gauge.GaugeAxis(
    found.paths[place[0]],
    place[1],
    tuple(found.size(a) for a in flat),
    before + rows[place[1]].index(atom),
    power,
    tuple(flat.index(beta) for beta in per),
  )


def _name(found: 'groups.Found', ids: Mapping[int, str], atom: int) -> str:
  """Id of the group of an atom, or the first parameter axis that it lies along."""
  if atom in ids:
    return ids[atom]
  return next(found.name(place) for place in found.every_place() if atom in found.atoms(place))


def selectors(found: 'groups.Found', atoms: Collection[int]) -> dict[int, list[int]]:
  """The atoms along which there may be a matrix for each unit.

  Every value that the matrix acts on must have such an atom once, and every operation must pass it
  on, or contract it, along with the vector; so the matrix of one unit never meets that of another.
  """
  expand = found.axes.atoms.expand
  rows: dict[int, list[list[int]]] = {}

  def labels(value: Value) -> list[list[int]]:
    if id(value) not in rows:
      rows[id(value)] = [expand(label) for label in found.axes.of(value)]
    return rows[id(value)]

  def flat(value: Value) -> list[int]:
    return [a for row in labels(value) for a in row]

  selectors: dict[int, set[int]] = {}
  for atom in atoms:
    places = found.pairs.get(atom) or found.places[atom]
    leaves = [flat(found.program.leaves[index]) for index, _ in places]
    once = [{a for a in leaf if leaf.count(a) == 1} for leaf in leaves]
    selectors[atom] = set.intersection(*once) - {atom}
  wanted = {atom for atom in atoms if selectors[atom]}
  for op in found.program.ops:
    values = [value for value in (*op.ins, *op.outs) if value.number is None]
    for atom in wanted.intersection(a for value in values for a in flat(value)):
      if selectors[atom]:
        selectors[atom] = {b for b in selectors[atom] if _selects(found, labels, op, atom, b)}
  every = dict.fromkeys(a for place in found.every_place() for a in found.atoms(place))
  return {atom: [a for a in every if a in selectors[atom]] for atom in atoms}


def _selects(found: 'groups.Found', labels, op: Op, atom: int, beta: int) -> bool:
  """Whether an operation keeps the vectors over one set apart by the units of another."""
  trace = found.axes.traces[id(op)]
  at: tuple[dict[int, int], ...] = ({}, {})  # The axis of beta in operands and in results.
  for values, found_at in zip((op.ins, op.outs), at, strict=True):
    for i, value in enumerate(values):
      if value.number is None and found.walk.vectors(value, atom):
        rows = labels(value)
        axes = [axis for axis, row in enumerate(rows) if beta in row]
        if len(axes) != 1 or rows[axes[0]].count(beta) != 1:
          return False
        found_at[i] = axes[0]
  ins, outs = at
  if trace.flat:
    return True
  links = set(trace.links)
  for o in outs:
    for i in ins:
      if _reaches(found, op, atom, i, o) and (i, ins[i], o, outs[o]) not in links:
        return False
  if op.name == 'close':
    return len(set(ins.values())) <= 1
  for i, axis, j, _ in trace.contracts:
    if i not in ins or j not in ins or atom not in labels(op.ins[i])[axis]:
      continue
    pair = (i, ins[i], j, ins[j])
    both = {(o, a) for k, b, o, a in links if (k, b) == pair[:2]} & {
      (o, a) for k, b, o, a in links if (k, b) == pair[2:]
    }
    if pair not in trace.contracts and not both:
      return False
  return True


def _reaches(found: 'groups.Found', op: Op, atom: int, i: int, o: int) -> bool:
  """Whether vectors of operand i are part of result o along a linked axis."""
  axes = found.walk.vectors(op.ins[i], atom)
  return any(
    link[0] == i and link[1] in axes and link[2] == o for link in found.axes.traces[id(op)].links
  )
