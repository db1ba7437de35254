"""Conditions: vectors of checkpoint records that generators are conditioned on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Condition(Protocol):
  """Contract of conditions: a vector of a record, whatever the other records are."""

  @property
  def size(self) -> int:
    """Number of entries C."""
    ...

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes vectors [N, C] float32 of checkpoint records.

    Raises:
      ValueError: if a record lacks what the condition reads.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Scale:
  """Scale that is linear in a number or in its logarithm.

  Attributes:
    low: number that becomes -1.
    high: number that becomes 1; numbers beyond are not clipped.
    is_log: whether the scale is linear in the logarithm.

  Raises:
    ValueError: unless low < high, and 0 < low for a logarithm.
  """

  low: float
  high: float
  is_log: bool = False

  def __post_init__(self):
    if not self.low < self.high or (self.is_log and self.low <= 0):
      raise ValueError(
        f'Bounds must have {"0 < " if self.is_log else ""}low < high; got '
        f'{self.low} and {self.high}.'
      )

  def __call__(self, values: np.ndarray, name: str) -> np.ndarray:
    """Scales values [n] of a number with a name; raises ValueError for one without a scale."""
    values = np.asarray(values, np.float64)
    low, high = self.low, self.high
    if self.is_log:
      if (values <= 0).any():
        raise ValueError(f'{name} is scaled by its logarithm; got {values.min():g}.')
      low, high, values = np.log(low), np.log(high), np.log(values)
    if not np.isfinite(values).all():
      raise ValueError(f'Some networks have no {name}.')
    return 2 * (values - low) / (high - low) - 1
