"""Gates: what a sample must do to count as a new, working network."""

import dataclasses

import numpy as np

from wsjax.symmetry import distance as distance_lib

# A sample nearer than this many tau to a training network is a copy of it.
COPY = 0.1
# A zoo whose tau is below this share of the norm of its networks consists of copies.
MIN_TAU = distance_lib.ROUNDING


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """Thresholds of the gates, all measured on the training zoo.

  Attributes:
    accuracy: 5th percentile of the test accuracy of the zoo.
    tau: median quotient distance from a training network to the nearest other one, of final
      checkpoints of independent runs: the median distance between independent runs.
    max_iou: mean over training networks of the largest error-IoU with another.
    norm: median norm of the networks of the zoo.
  """

  accuracy: float
  tau: float
  max_iou: float
  norm: float

  def __post_init__(self):
    if not self.tau > MIN_TAU * self.norm:
      raise ValueError(
        f'tau, the median distance between independent runs, is {self.tau:.3g}, not above '
        f'{MIN_TAU:g} of the median norm {self.norm:.3g} of the networks: half of the training '
        'networks have a copy among the others, up to symmetry.'
      )


def above_chance(chance: float, num_items: int) -> float:
  """Accuracy above which a network is not at chance: 3 standard errors at n items."""
  return chance + 3 * np.sqrt(chance * (1 - chance) / num_items)


def strict(
  accuracy: np.ndarray, distance: np.ndarray, thresholds: Thresholds, *, share: float = 1.0
) -> np.ndarray:
  """[N] bool, gate G: as accurate as the zoo, and as far from it as `share` of tau, 0.5 for G1/2.

  Distances are quotient distances to the nearest training network; NaN passes no gate.
  """
  return (accuracy >= thresholds.accuracy) & (distance >= share * thresholds.tau)


def functional(accuracy: np.ndarray, max_iou: np.ndarray, thresholds: Thresholds) -> np.ndarray:
  """[N] bool, gate G_b: as accurate as the zoo, with a largest error-IoU like that of the zoo."""
  return (accuracy >= thresholds.accuracy) & (max_iou <= thresholds.max_iou)


def copy(distance: np.ndarray, thresholds: Thresholds) -> np.ndarray:
  """[N] bool, whether a sample is a copy: nearer than 0.1 tau to a training network."""
  return distance < COPY * thresholds.tau
