"""Noise schedules and their inverses."""

import dataclasses

import numpy as np

from wsjax import typing


@dataclasses.dataclass(frozen=True)
class Karras:
  """Noise levels that are dense where there is little noise.

  Attributes:
    sigma_min: smallest noise level, at t = 0.
    sigma_max: largest noise level, at t = 1.
    rho: how strongly the levels crowd at the low end; 1 spaces them evenly.

  Raises:
    ValueError: unless 0 < sigma_min < sigma_max and rho > 0.

  Source: Karras et al. 2022, arXiv:2206.00364, equation 5.
  """

  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0

  def __post_init__(self):
    if not 0 < self.sigma_min < self.sigma_max or self.rho <= 0:
      raise ValueError(
        'A Karras schedule needs 0 < sigma_min < sigma_max and rho > 0; got '
        f'{self.sigma_min}, {self.sigma_max} and {self.rho}.'
      )

  def sigma(self, t: typing.Array) -> typing.Array:
    """Noise level (standard deviation) at t in [0, 1]."""
    low, high = self._ends()
    return (low + t * (high - low)) ** self.rho

  def time(self, sigma: typing.Array) -> typing.Array:
    """Inverse of `sigma`: t in [0, 1] of a noise level."""
    low, high = self._ends()
    return (sigma ** (1 / self.rho) - low) / (high - low)

  def levels(self, num: int) -> np.ndarray:
    """[num] noise levels from the largest to the smallest."""
    return self.sigma(np.linspace(1.0, 0.0, num)).astype(np.float32)

  def _ends(self) -> tuple[float, float]:
    return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
