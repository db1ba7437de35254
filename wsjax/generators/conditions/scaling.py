"""Scaling of numbers between fixed bounds to numbers between -1 and 1."""

import dataclasses

import numpy as np


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
    """Scales values.

    Args:
      values: [n].
      name: of the number, for errors.

    Raises:
      ValueError: if one is not known, or has no logarithm.
    """
    values = np.asarray(values, np.float64)
    low, high = self.low, self.high
    if self.is_log:
      if (values <= 0).any():
        raise ValueError(f'{name} is scaled by its logarithm; got {values.min():g}.')
      low, high, values = np.log(low), np.log(high), np.log(values)
    if not np.isfinite(values).all():
      raise ValueError(f'Some networks have no {name}.')
    return 2 * (values - low) / (high - low) - 1
