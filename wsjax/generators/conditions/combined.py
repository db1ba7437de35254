"""Combined condition: several conditions, concatenated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from wsjax import config
from wsjax.generators import conditions


@dataclasses.dataclass(frozen=True)
class Combined(config.Section):
  """Concatenation of conditions.

  Attributes:
    parts: conditions in order.
  """

  parts: tuple[Annotated[conditions.Condition, config.Plugin('generators.conditions')], ...]

  def __post_init__(self):
    super().__post_init__()
    if not self.parts:
      raise ValueError('parts is empty; allowed: one or more conditions.')

  @property
  def size(self) -> int:
    """Number of entries."""
    return sum(part.size for part in self.parts)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    return np.concatenate([part.of_records(records) for part in self.parts], 1)
