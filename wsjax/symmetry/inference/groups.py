"""Groups, axes and kinds of a Spec from labels and laws, and the report of an inference."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from wsjax.symmetry import blocks as blocks_lib
from wsjax.symmetry import gauge
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import axes as axes_lib
from wsjax.symmetry.inference import gauges as gauges_lib
from wsjax.symmetry.inference import laws as laws_lib
from wsjax.symmetry.inference import phase as phase_lib
from wsjax.symmetry.inference import pieces as pieces_lib
from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import states
from wsjax.symmetry.inference import units as units_lib

_SHARED = 'shares an axis with another group; a spec has one per axis'
_TWICE = 'lies twice along one axis'
Place = tuple[int, int]  # (leaf, axis)


@dataclasses.dataclass(frozen=True)
class Pin:
  """Axes that no symmetry acts on, and the primitive that fixed them.

  Attributes:
    primitive: 'input', 'output', 'constant', 'unused', or the JAX primitive.
    count: operations (or arrays) of that name that fixed an axis.
    supported: False for a primitive that the inference has no rule for.
    axes: parameter axes concerned, as 'path:dim'.
  """

  primitive: str
  count: int
  supported: bool
  axes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Dropped:
  """Interchangeable units along `axes`, as 'path:dim', that a spec cannot hold, and the reason."""

  size: int
  axes: tuple[str, ...]
  reason: str


@dataclasses.dataclass(frozen=True)
class Refused:
  """A kind that an activation suggests for a group, but that some primitives break."""

  group: str
  kind: str
  primitives: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Report:
  """Pinned axes with their reasons, and symmetries that the spec does not hold.

  Attributes:
    pins: by number of parameter axes, most first.
    gauges: units that any matrix, or any orthogonal one, may mix.
    rescalings: scales and signs that are not a kind of a group, with their powers.
    blocks: interchangeable units that the spec does not hold, or only moves all alike.
    dropped: units that share an axis with others, as a spec has one group per axis.
    refused: why groups have no further kinds.
    operations: their number in the program.
  """

  pins: tuple[Pin, ...]
  gauges: tuple[gauge.Gauge, ...]
  rescalings: tuple[gauge.Gauge, ...]
  blocks: tuple[blocks_lib.Blocks, ...]
  dropped: tuple[Dropped, ...]
  refused: tuple[Refused, ...]
  operations: int

  @property
  def beyond(self) -> tuple[gauge.Gauge | blocks_lib.Blocks, ...]:
    """All that can act besides the spec: gauges, rescalings and blocks."""
    return (*self.gauges, *self.rescalings, *self.blocks)

  def pin(self, primitive: str) -> Pin | None:
    """The entry of a primitive, None if it pinned nothing."""
    return next((p for p in self.pins if p.primitive == primitive), None)

  @property
  def unsupported(self) -> tuple[str, ...]:
    """Names of the primitives that there is no rule for."""
    return tuple(pin.primitive for pin in self.pins if not pin.supported)


@dataclasses.dataclass(eq=False)
class Found:
  """The groups of a program.

  Attributes:
    paths: of the leaves.
    program: of the function.
    axes: its labels.
    order: leaves in forward order.
    linear: which atoms any matrix may mix.
    walk: of that law.
    places: free atom -> leaf axes that it lies along, in forward order.
    pairs: the same of atoms that are pairs which are rotated.
    kept: atoms that become groups, in forward order.
    dropped: atom -> why it does not.
  """

  paths: Sequence[str]
  program: program_lib.Program
  axes: axes_lib.Axes
  order: list[int]
  linear: laws_lib.MatrixLaw
  walk: states.Walk | None
  places: dict[int, list[Place]]
  pairs: dict[int, list[Place]]
  kept: list[int]
  dropped: dict[int, str]

  def name(self, place: Place) -> str:
    """A leaf axis as 'path:dim'."""
    return f'{self.paths[place[0]]}:{place[1]}'

  def atoms(self, place: Place) -> list[int]:
    """Atoms of a leaf axis."""
    leaf = self.program.leaves[place[0]]
    return self.axes.atoms.expand(self.axes.of(leaf)[place[1]])

  def axes_of(self, index: int) -> list[Place]:
    """The axes of a leaf."""
    return [(index, axis) for axis in range(len(self.program.leaves[index].shape))]

  def every_place(self) -> list[Place]:
    """The axes of all parameters, in forward order."""
    return [place for index in self.order for place in self.axes_of(index)]

  def size(self, atom: int) -> int:
    """Number of units."""
    return self.axes.atoms.size(atom)


def find(paths: Sequence[str], program: program_lib.Program, axes: axes_lib.Axes) -> Found:
  """Chooses the groups; leaves that nothing depends on are pinned.

  Where several sets of units share an axis, one that is not linear stays, since the report has
  linear ones as a gauge: the heads of an attention, not the units of a head. Then the largest, then
  that along most axes, the outermost.
  """
  uses = program.first_uses()
  order = sorted(range(len(paths)), key=lambda i: uses[i])
  for index in order:
    if uses[index] == len(program.ops):
      for label in axes.of(program.leaves[index]):
        axes.atoms.pin(label, 'unused')
  pairs: dict[int, list[Place]] = {}
  linear = laws_lib.MatrixLaw(pairs)
  found = Found(paths, program, axes, order, linear, None, {}, pairs, [], {})
  rows = []
  for place in found.every_place():
    atoms = found.atoms(place)
    rows.append([atom for atom in atoms if not axes.atoms.reasons(atom)])
    for atom in dict.fromkeys(rows[-1]):
      found.places.setdefault(atom, []).append(place)
    for atom in dict.fromkeys(filter(axes.pairs, atoms)):
      found.pairs.setdefault(atom, []).append(place)
  found.walk = states.Walk(program, axes, {*found.places, *found.pairs})
  found.walk.follow(found.linear)
  ranked = sorted(
    found.places,
    key=lambda a: (a not in found.linear.breaks, -found.size(a), -len(found.places[a])),
  )
  kept = set()
  for atom in ranked:
    mine = [row for row in rows if atom in row]
    if any(row.count(atom) > 1 for row in mine):
      found.dropped[atom] = _TWICE
    elif any(kept.intersection(row) for row in mine):
      found.dropped[atom] = _SHARED
    else:
      kept.add(atom)
  found.kept = [atom for atom in found.places if atom in kept]
  return found


@dataclasses.dataclass(eq=False)
class Laws:
  """Results of all laws, for all free atoms."""

  origins: phase_lib.OriginLaw
  scale: laws_lib.ScaleLaw
  sign: laws_lib.SignLaw
  phase: phase_lib.PhaseLaw

  def powers(self, found: Found, atom: int) -> dict[Place, int]:
    """1 for incoming weights and -1 for outgoing ones, as in a spec."""
    return {p: -1 if p in self.origins.reads else 1 for p in found.places[atom]}

  def holds(self, law: laws_lib.ScaleLaw, found: Found, atom: int) -> bool:
    """Whether a law gives a kind of the spec: units with a nonlinear function that obey it."""
    powers = self.powers(found, atom)
    linear = atom not in found.linear.breaks  # Those have a gauge.
    return not linear and law.bends(atom, powers) and not law.violated(atom, powers)


def follow(found: Found) -> Laws:
  """Walks the program with every law."""
  origins = phase_lib.OriginLaw(found.program)
  walk = states.Walk(found.program, found.axes, found.places)
  walk.follow(origins)
  phase = phase_lib.PhaseLaw(origins.reads, origins.biases)
  laws = Laws(origins, laws_lib.ScaleLaw(), laws_lib.SignLaw(), phase)
  for law in (laws.scale, laws.sign, laws.phase):
    walk.follow(law)
  return laws


def spec(found: Found, laws: Laws) -> spec_lib.Spec:
  """The Spec; half turns only where one bias takes them."""
  ids = _ids(found, laws.origins.reads)
  groups = tuple(
    spec_lib.Group(ids[atom], found.size(atom), *_kinds(found, laws, atom)) for atom in found.kept
  )
  leaves = []
  for index in found.order:
    shape = found.program.leaves[index].shape
    row = tuple(_axis(found, laws.origins, ids, place) for place in found.axes_of(index))
    leaves.append(spec_lib.Leaf(found.paths[index], shape, row))
  return spec_lib.Spec(groups, tuple(leaves))


def report(found: Found, laws: Laws, spec: spec_lib.Spec) -> Report:
  """Reasons why there are no further groups and kinds, and symmetries that no spec holds."""
  ids = {atom: group.id for atom, group in zip(found.kept, spec.groups, strict=True)}
  names = {atom: tuple(map(found.name, places)) for atom, places in found.places.items()}
  dropped = tuple(
    Dropped(found.size(atom), names[atom], why) for atom, why in found.dropped.items()
  )
  units = units_lib.Units(found.paths, found.program)
  finer = pieces_lib.find(units)
  gauges = _joined(gauges_lib.matrices(found, ids), finer[0])
  rescalings = _joined(gauges_lib.rescalings(found, laws, ids), finer[1])
  refused = _refused(found, laws, ids)
  blocks = units_lib.find(units, spec)
  pins = _pins(found)
  return Report(pins, gauges, rescalings, blocks, dropped, refused, len(found.program.ops))


def _joined(coarse: Sequence[gauge.Gauge], finer: Sequence[gauge.Gauge]) -> tuple[gauge.Gauge, ...]:
  """All gauges, less those that finer ones on the same axes are made of."""
  known = {(g.kind, frozenset(g.names)): len(g.per) for g in coarse}
  finer = [g for g in finer if len(g.per) > known.get((g.kind, frozenset(g.names)), -1)]
  axes = {(g.kind, g.size, a.path, a.dim) for g in finer for a in g.axes}
  axes |= {('orthogonal', *rest) for kind, *rest in axes if kind == 'general_linear'}
  axes |= {('complex', 2, *at) for kind, _, *at in axes if kind == 'general_linear'}
  axes |= {('rotation', *rest) for kind, *rest in axes if kind == 'complex'}
  kept = [g for g in coarse if not {(g.kind, g.size, a.path, a.dim) for a in g.axes} <= axes]
  return (*kept, *finer)


def _kinds(found: Found, laws: Laws, atom: int) -> tuple[tuple[str, ...], float]:
  """Kinds of a group and its half turn."""
  kinds = ['permutation']
  kinds += [law.KIND for law in (laws.scale, laws.sign) if laws.holds(law, found, atom)]
  half_turn = laws.phase.half_turns.get(atom, 0.0)
  biases = [p for p in found.places[atom] if p in laws.origins.biases]
  one = [found.program.leaves[i].shape for i, _ in biases] == [(found.size(atom),)]
  if one and half_turn and atom not in laws.phase.breaks and 'sign' in kinds:
    return (*kinds, 'phase'), half_turn
  return tuple(kinds), 0.0


def _axis(
  found: Found, origins: phase_lib.OriginLaw, ids: Mapping[int, str], place: Place
) -> spec_lib.Axis:
  """One axis of a leaf as (outer x group x inner)."""
  atoms = found.atoms(place)
  at = next((i for i, atom in enumerate(atoms) if atom in ids), None)
  if at is None:
    return spec_lib.PINNED
  return spec_lib.Axis(
    ids[atoms[at]],
    outer=math.prod(map(found.size, atoms[:at])),
    inner=math.prod(map(found.size, atoms[at + 1 :])),
    power=-1 if place in origins.reads else 1,
    shift=place in origins.biases,
  )


def _ids(found: Found, reads: set[Place]) -> dict[int, str]:
  """Names of the groups: the layer with the incoming weights."""
  ids: dict[int, str] = {}
  for atom in found.kept:
    places = found.places[atom]
    index, axis = next((p for p in places if p not in reads), places[0])
    path = found.paths[index].removeprefix('params/')
    id = path.rpartition('/')[0] or path
    if id in ids.values():
      id = f'{path}.{axis}'
    ids[atom] = id
  return ids


def _pins(found: Found) -> tuple[Pin, ...]:
  axes = found.axes
  names: dict[str, list[str]] = {}
  for place in found.every_place():
    reasons = (why for atom in found.atoms(place) for why in axes.atoms.reasons(atom))
    for why in dict.fromkeys(reasons):
      names.setdefault(why, []).append(found.name(place))
  counts = {
    'input': len(found.program.inputs),
    'output': len(found.program.outputs),
    **{name: len(ops) for name, ops in axes.pins.items()},
  }
  pins = [
    Pin(why, counts.get(why, 1), why not in axes.unsupported, tuple(names.get(why, ())))
    for why in dict.fromkeys([*names, *axes.unsupported])
  ]
  return tuple(sorted(pins, key=lambda pin: -len(pin.axes)))


def _refused(found: Found, laws: Laws, ids: Mapping[int, str]) -> tuple[Refused, ...]:
  return tuple(
    Refused(id, law.KIND, tuple(sorted(names)))
    for law in (laws.scale, laws.sign)
    for atom, id in ids.items()
    if (names := law.violated(atom, laws.powers(found, atom))) and atom in law.met
  )
