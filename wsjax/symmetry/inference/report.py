"""What inference found besides the groups, and why not more of them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pin:
  """Axes on which nothing may act, and what fixed them.

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
class Gauge:
  """Linear units: any invertible matrix may mix them, not only a permutation.

  Attributes:
    group: id of their group in the spec; None if the spec has none for them.
    size: number of units n.
    axes: parameter axes that they lie along, as 'path:dim'.
    per: id of a group, for each unit of which there is a matrix of its own, as for the heads of an
      attention; None for one matrix in all.
  """

  group: str | None
  size: int
  axes: tuple[str, ...]
  per: str | None

  def __str__(self) -> str:
    per = f' for each unit of {self.per}' if self.per else ''
    return f'GL({self.size}){per} on {", ".join(self.axes)}'


@dataclasses.dataclass(frozen=True)
class Dropped:
  """Interchangeable units that a spec cannot hold, left where they are.

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
  """A kind that units bend for, but that some primitive breaks.

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
  """What was pinned and why, and what freedom the spec does not say.

  Attributes:
    pins: by number of parameter axes, most first.
    gauges: linear units.
    dropped: units that share an axis with others, as a spec has one group per axis.
    refused: why groups have no further kinds.
    stats: counts: parameters, leaves, operations, groups.
  """

  pins: tuple[Pin, ...]
  gauges: tuple[Gauge, ...]
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
