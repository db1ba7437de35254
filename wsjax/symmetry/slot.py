"""One place of an axis that is viewed as outer x num x inner, as the keys of queries, keys and
values in one array.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Slot:
  """A part of an array.

  Attributes:
    dim: the axis.
    factors: (outer, num, inner), its length.
    place: which of num is taken; outer x inner elements are left.
  """

  dim: int
  factors: tuple[int, int, int]
  place: int

  @property
  def length(self) -> int:
    """Of the whole axis."""
    outer, num, inner = self.factors
    return outer * num * inner

  def __str__(self) -> str:
    return f'[{self.place} of {self.factors[1]} along {self.dim}]'

  def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the part of an array."""
    outer, _, inner = self.factors
    return (*shape[: self.dim], outer * inner, *shape[self.dim + 1 :])

  def take(self, value: Any) -> Any:
    """The part of an array."""
    split = value.reshape(*value.shape[: self.dim], *self.factors, *value.shape[self.dim + 1 :])
    at = (slice(None),) * (self.dim + 1)
    return split[(*at, self.place)].reshape(self.shape(value.shape))

  def put(self, value: Any, part: Any) -> Any:
    """The array with another part."""
    outer, _, inner = self.factors
    split = value.reshape(*value.shape[: self.dim], *self.factors, *value.shape[self.dim + 1 :])
    at = (slice(None),) * (self.dim + 1)
    part = part.reshape(*part.shape[: self.dim], outer, 1, inner, *part.shape[self.dim + 1 :])
    pieces = [split[(*at, slice(0, self.place))], part, split[(*at, slice(self.place + 1, None))]]
    xp = value.__array_namespace__()
    return xp.concatenate(pieces, self.dim + 1).reshape(value.shape)


def take(slots: Sequence[Slot], value: Any) -> Any:
  """The part of an array that is left after several slots, each of what the last one left."""
  for slot in slots:
    value = slot.take(value)
  return value


def put(slots: Sequence[Slot], value: Any, part: Any) -> Any:
  """The array with another part at several slots."""
  if not slots:
    return part
  return slots[0].put(value, put(slots[1:], slots[0].take(value), part))
