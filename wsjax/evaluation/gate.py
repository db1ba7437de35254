"""The gate: what a sample must do to count as a new, working network."""

import dataclasses

import numpy as np

# A sample nearer than this many tau to a training network is a copy of it.
COPY = 0.1


@dataclasses.dataclass(frozen=True)
class Bar:
  """Thresholds, all measured on the training zoo.

  Attributes:
    accuracy: 5th percentile of the zoo's test accuracy, a fraction.
    tau: median quotient distance from a training network to the nearest other one, of final
      checkpoints of independent runs.
    max_iou: mean over training networks of the largest error-IoU with another.
  """

  accuracy: float
  tau: float
  max_iou: float

  def __post_init__(self):
    if not self.tau > 0:
      raise ValueError(
        f'tau is {self.tau}, not > 0: half of the training networks have an '
        'exact copy among the others.'
      )


def strict(
  accuracy: np.ndarray, distance: np.ndarray, bar: Bar, *, share: float = 1.0
) -> np.ndarray:
  """Gate G: as good as the zoo and as far from it as its own runs.

  Args:
    accuracy: [N] test accuracy, fractions.
    distance: [N] quotient distance to the nearest training network; NaN where it has none.
    bar: thresholds.
    share: of tau that the distance must reach; 0.5 is the half gate.

  Returns:
    [N] bool.
  """
  return (accuracy >= bar.accuracy) & (distance >= share * bar.tau)


def half(accuracy: np.ndarray, distance: np.ndarray, bar: Bar) -> np.ndarray:
  """Gate G1/2: `strict` with half of tau."""
  return strict(accuracy, distance, bar, share=0.5)


def behaviour(accuracy: np.ndarray, max_iou: np.ndarray, bar: Bar) -> np.ndarray:
  """Gate G_b: as good as the zoo, with errors of its own.

  Args:
    accuracy: [N] test accuracy, fractions.
    max_iou: [N] largest error-IoU with a training network.
    bar: thresholds.

  Returns:
    [N] bool.
  """
  return (accuracy >= bar.accuracy) & (max_iou <= bar.max_iou)


def copy(distance: np.ndarray, bar: Bar) -> np.ndarray:
  """Whether a sample is a copy: nearer than 0.1 tau to a training network."""
  return distance < COPY * bar.tau
