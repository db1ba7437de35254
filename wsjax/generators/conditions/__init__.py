"""Conditions: vectors of checkpoint records that generators are conditioned on."""

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
