"""How good a network is: a metric of its record."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.generators.conditions import scaling
from wsjax.zoo.store import columns


@dataclasses.dataclass(frozen=True)
class Metric:
  """Condition by one metric of a checkpoint, as it was at its own step.

  Attributes:
    split: 'train' or 'val'; records have no test metrics.
    metric: name in the records.
    scale: of the values.
  """

  split: str
  metric: str
  scale: scaling.Scale
  size: int = 1

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, 1] float32 of checkpoint records.

    Raises:
      ValueError: if a record lacks the metric.
    """
    values = columns.column(records, ('final', self.split, self.metric))
    name = f'{self.split} {self.metric}'
    return self.scale(values, name).astype(np.float32)[:, None]


def make(
  metric: str = 'accuracy',
  split: str = 'val',
  low: float = 0.0,
  high: float = 1.0,
  log: bool = False,
) -> Metric:
  """A metric between fixed bounds, which become -1 and 1.

  Args:
    metric: such as 'accuracy', 'loss' or 'psnr'.
    split: 'train' or 'val'.
    low: what becomes -1.
    high: what becomes 1.
    log: whether the logarithm is scaled, as suits a loss.

  Raises:
    ValueError: for another split, or bounds that do not increase.
  """
  if split not in ('train', 'val'):
    raise ValueError(f"Metrics are of 'train' or 'val'; got {split!r}.")
  return Metric(split, metric, scaling.Scale(low, high, log))
