"""Gauges and rescalings of pieces of axes, as of the queries in a kernel of queries and keys.

Laws are followed once more, along the labels with pieces (`units`). Each piece of a parameter axis
transforms in its own way: a fused kernel has a matrix for each part, a gated cell a sign for each
gate, the halves of a concatenation scales of their own.
"""

from collections.abc import Mapping, Sequence

from wsjax.symmetry import gauge
from wsjax.symmetry.inference import laws as laws_lib
from wsjax.symmetry.inference import states
from wsjax.symmetry.inference import units as units_lib

Gauges = tuple[gauge.Gauge, ...]
Row = list[tuple[int | None, int]]  # Factors of an axis, with their lengths.


def find(found: units_lib.Units) -> tuple[Gauges, Gauges]:
  """(matrices, scales and signs) of units in pieces of axes, and of units in blocks apart."""
  hidden = _hidden(found)
  places: dict[int, list[states.Place]] = {}
  spans: dict[tuple[states.Place, int], tuple[int, int]] = {}
  walk = states.Walk(found.program, found.axes, {*found.leaves, *found.pairs} - hidden)
  for index in found.order:
    for row in walk.places(found.program.leaves[index]):
      for place, (atom, start, stop) in row:
        places.setdefault(atom, []).append(place)
        spans[place, atom] = start, stop

  def in_parts(atom: int) -> bool:
    return any(len(p) > 2 or found.slots[p[0]] for p in places[atom])

  def row(place: states.Place, atom: int) -> list[int | None]:
    return [a for a, _ in _rows(found, place, spans[place, atom])[place[1]]]

  atoms = [
    atom
    for atom, mine in places.items()
    if (in_parts(atom) or found.selectors(atom))
    and len(set(mine)) == len(mine)
    and all(row(place, atom).count(atom) == 1 for place in mine)
  ]
  if not atoms:
    return (), ()
  walk = states.Walk(found.program, found.axes, atoms)
  linear, scale, sign = laws_lib.MatrixLaw(found.pairs), laws_lib.ScaleLaw(), laws_lib.SignLaw()
  for law in (linear, scale, sign):
    walk.follow(law)

  def build(kind: str, atom: int, powers: Mapping[states.Place, int]) -> gauge.Gauge:
    per = [
      beta
      for beta in found.selectors(atom)
      if all(_factors(found, p, spans[p, atom]).count(beta) == 1 for p in places[atom])
    ]
    axes = tuple(_axis(found, p, spans[p, atom], atom, powers[p], per) for p in powers)
    within.update(per if kind in gauge.MATRICES else ())
    sizes = found.axes.atoms.size
    leaves = found.pairs.get(atom) or found.leaves[atom]
    names = tuple((found.name(leaves, beta), sizes(beta)) for beta in per)
    return gauge.Gauge(kind, None, sizes(atom), axes, names)

  within: set[int] = set()  # A matrix for each of their units scales them, too.
  matrices, rescalings = [], []
  for atom in atoms:
    mine = places[atom]
    orthogonal = atom in linear.orthogonal
    if atom in linear.breaks or not (len(mine) > 1 or orthogonal):
      continue
    powers = [-1 if linear.inverse(atom, p) and not orthogonal else 1 for p in mine]
    powers = [power * powers[0] for power in powers]  # Incoming weights have A.
    kind = gauge.matrices(orthogonal=orthogonal, pairs=atom in found.pairs)
    matrices.append(build(kind, atom, dict(zip(mine, powers, strict=True))))
  for atom in atoms:
    for law in (scale, sign):
      if atom not in linear.breaks or atom in within or atom in found.pairs:
        continue
      for powers in law.solutions(atom, places[atom]):
        if law.MODULUS == 0 and next(iter(powers.values())) < 0:
          powers = {place: -power for place, power in powers.items()}
        rescalings.append(build(law.KIND, atom, powers))
  return tuple(matrices), tuple(rescalings)


def _hidden(found: units_lib.Units) -> set[int]:
  """Atoms in a sum that is not the outermost factor of an axis."""
  atoms = found.axes.atoms
  values = [*found.program.leaves, *(out for op in found.program.ops for out in op.outs)]
  hidden: set[int] = set()
  todo = [
    piece
    for value in values
    for label in found.axes.of(value)
    for span in atoms.spread(label)
    for atom in (*span.before, *span.atoms)
    for piece, _ in atoms.pieces(atom) or ()
  ]
  while todo:
    for atom in atoms.expand(todo.pop()):
      hidden.add(atom)
      todo += [piece for piece, _ in atoms.pieces(atom) or ()]
  return hidden


def _rows(found: units_lib.Units, place: states.Place, span: tuple[int, int]) -> list[Row]:
  """The axes of a parameter, or of a piece of one of them; None for one of pieces."""
  leaf = found.program.leaves[place[0]]
  rows: list[Row] = []
  for axis, label in enumerate(found.axes.of(leaf)):
    spans = found.axes.atoms.spread(label)
    if axis == place[1]:
      spans = [s for s in spans if s[:2] == span]
    if len(spans) > 1:
      rows.append([(None, leaf.shape[axis])])
      continue
    row: Row = [(a, found.axes.atoms.size(a)) for a in (*spans[0].before, *spans[0].atoms)]
    rows.append(row + [(None, spans[0].behind)] * (spans[0].behind > 1))
  return rows


def _factors(
  found: units_lib.Units, place: states.Place, span: tuple[int, int]
) -> list[int | None]:
  return [atom for row in _rows(found, place, span) for atom, _ in row]


def _axis(
  found: units_lib.Units,
  place: states.Place,
  span: tuple[int, int],
  atom: int,
  power: int,
  per: Sequence[int],
) -> gauge.GaugeAxis:
  rows = _rows(found, place, span)
  flat = [a for row in rows for a, _ in row]
  before = sum(map(len, rows[: place[1]]))
  label = found.axes.of(found.program.leaves[place[0]])[place[1]]
  within = next(s.within for s in found.axes.atoms.spread(label) if s[:2] == span)
  ends = span if within is None else (span[0] - within[0], span[1] + within[2] - within[1])
  part = len(place) > 2 and ends != (0, found.program.leaves[place[0]].shape[place[1]])
  return gauge.GaugeAxis(
    found.paths[place[0]],
    place[1],
    tuple(n for row in rows for _, n in row),
    before + [a for a, _ in rows[place[1]]].index(atom),
    power,
    tuple(flat.index(beta) for beta in per),
    ends if part else None,
    within,
    found.slots[place[0]],
  )
