"""Several conditions, one behind the other."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import config as config_lib


@dataclasses.dataclass(frozen=True)
class Combined:
  """Concatenation of conditions.

  Attributes:
    parts: plug-ins of this room.
  """

  parts: tuple[Any, ...]

  @property
  def size(self) -> int:
    """C."""
    return sum(part.size for part in self.parts)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, C] float32 of checkpoint records; raises as the parts do."""
    return np.concatenate([part.of_records(records) for part in self.parts], 1)


def make(parts: tuple[Mapping[str, Any], ...]) -> Combined:
  """Several conditions.

  Args:
    parts: config sections of plug-ins of this room, in order.

  Raises:
    ValueError: if there is none, or as the plug-ins.
  """
  if not parts:
    raise ValueError('A combined condition needs parts; got none.')
  return Combined(tuple(config_lib.build('generators.conditions', part) for part in parts))
