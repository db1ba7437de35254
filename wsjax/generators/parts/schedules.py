"""Noise schedules and their inverses."""

import dataclasses

import numpy as np

from wsjax import config, typing


@dataclasses.dataclass(frozen=True)
class Karras(config.Section):
  """Noise levels that are dense where there is little noise.

  Attributes:
    sigma_min: smallest noise level, at t = 0.
    sigma_max: largest noise level, at t = 1.
    rho: how strongly the levels crowd at the low end; 1 spaces them evenly.

  Raises:
    ValueError: unless sigma_min < sigma_max.

  Source: Karras et al. 2022, arXiv:2206.00364, equation 5.
  """

  sigma_min: config.PositiveFloat = 0.002
  sigma_max: config.PositiveFloat = 80.0
  rho: config.PositiveFloat = 7.0

  def __post_init__(self):
    super().__post_init__()
    if self.sigma_min >= self.sigma_max:
      raise ValueError(f'sigma_min is {self.sigma_min}, not below sigma_max, {self.sigma_max}.')

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
