"""Condition by a measured property of a network: a metric in its record."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from wsjax import config
from wsjax.generators import conditions
from wsjax.zoo.store import columns


@dataclasses.dataclass(frozen=True)
class Metric(config.Section):
  """One metric of a checkpoint at its own step, between fixed bounds.

  Attributes:
    metric: name in the records, such as 'accuracy', 'loss' or 'psnr'.
    split: of the metric; records have no test metrics.
    low: value that becomes -1.
    high: value that becomes 1.
    log: whether the logarithm is scaled, as suits a loss.
  """

  size: ClassVar[int] = 1

  metric: str = 'accuracy'
  split: Literal['train', 'val'] = 'val'
  low: float = 0.0
  high: float = 1.0
  log: bool = False

  def __post_init__(self):
    super().__post_init__()
    _ = self._scale  # Checks the bounds.

  @property
  def _scale(self) -> conditions.Scale:
    return conditions.Scale(self.low, self.high, self.log)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    values = columns.column(records, ('final', self.split, self.metric))
    return self._scale(values, f'{self.split} {self.metric}').astype(np.float32)[:, None]
