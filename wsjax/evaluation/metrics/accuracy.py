"""Quality: how well the networks of an arm do, unselected."""

from typing import Any

import numpy as np

from wsjax.evaluation import statistics

INTERQUARTILE = (0.25, 0.75)
WORST_DECILE = (0.0, 0.1)


def chance(labels: np.ndarray) -> float:
  """Accuracy of the best constant prediction: share of the largest class."""
  return float(np.max(np.bincount(labels)) / len(labels))


def nonfunctional(accuracy: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Whether a network cannot be told from chance.

  Args:
    accuracy: [N] fractions on items with these labels.
    labels: [n] int.

  Returns:
    [N] bool: accuracy < chance + 3 standard errors of chance at n items.
  """
  level = chance(labels)
  error = np.sqrt(level * (1 - level) / len(labels))
  return accuracy < level + 3 * error


def metrics(
  correct: np.ndarray, labels: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Accuracy in the mean, the middle and the tail.

  Args:
    correct: [N, n] bool.
    labels: [n] int.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report.
  """
  accuracy = np.mean(correct, axis=1, dtype=np.float64)

  def window(quantiles: tuple[float, float]) -> dict[str, Any]:
    return statistics.over_nets(accuracy, groups, resampler, window=quantiles)

  return {
    'accuracy': statistics.two_way(correct, groups, resampler),
    'accuracy_iqm': window(INTERQUARTILE),
    'accuracy_worst_decile': window(WORST_DECILE),
    'nonfunctional_rate': statistics.rate(nonfunctional(accuracy, labels)),
  }
