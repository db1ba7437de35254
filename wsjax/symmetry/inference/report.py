"""Report of an inference: pinned axes, gauges, refused kinds."""

import dataclasses

from wsjax.symmetry import gauge


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
  """Interchangeable units that a spec cannot hold, and that it leaves in place.

  Attributes:
    size: number of units.
    axes: parameter axes that they lie along, as 'path:dim'.
    reason: why not.
  """

  size: int
  axes: tuple[str, ...]
  reason: str


@dataclasses.dataclass(frozen=True)
class Refused:
  """A kind that an activation suggests, but that another primitive breaks.

  Attributes:
    group: id.
    kind: from `spec.KINDS`.
    primitives: that break it.
  """

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
    dropped: units that share an axis with others, as a spec has one group per axis.
    refused: why groups have no further kinds.
    stats: counts: parameters, leaves, operations, groups.
  """

  pins: tuple[Pin, ...]
  gauges: tuple[gauge.Gauge, ...]
  rescalings: tuple[gauge.Gauge, ...]
  dropped: tuple[Dropped, ...]
  refused: tuple[Refused, ...]
  stats: dict[str, int]

  def pin(self, primitive: str) -> Pin | None:
    """The entry of a primitive, None if it pinned nothing."""
    return next((p for p in self.pins if p.primitive == primitive), None)

  @property
  def unsupported(self) -> tuple[str, ...]:
    """Names of the primitives that there is no rule for."""
    return tuple(pin.primitive for pin in self.pins if not pin.supported)
