"""What a report says of readings of a property, of all training seeds."""

from typing import Any

import ml_collections
import numpy as np

from wsjax.experiments import property_metrics


def classes(
  config: ml_collections.ConfigDict, logits: np.ndarray, truth: np.ndarray, guess: np.ndarray | int
) -> dict[str, Any]:
  """Scores of logits [S, n, k] against classes [n]; as `properties.judge`.

  Args:
    config: of the run.
    logits: outputs.
    truth: classes.
    guess: most frequent class in training, one or [n].
  """
  counts = np.zeros((logits.shape[-1],) * 2, int)
  np.add.at(counts, (truth, logits[0].argmax(-1)), 1)
  return {
    'metrics': property_metrics.classification(
      logits, truth, num_bootstrap=config.evaluate.num_bootstrap, seed=config.seed
    ),
    'constant': {'accuracy': float(np.mean(truth == guess))},
    'outcome': {'confusion': counts},
  }


def numbers(
  config: ml_collections.ConfigDict,
  read: np.ndarray,
  truth: np.ndarray,
  calibration: tuple[np.ndarray, np.ndarray],
  guess: np.ndarray | float,
) -> dict[str, Any]:
  """Scores of means and deviations [S, n, 2]; as `properties.judge`.

  Args:
    config: of the run.
    read: outputs, in units of the target.
    truth: [n] numbers.
    calibration: outputs and numbers that set the width of intervals.
    guess: mean in training, one or [n].
  """
  metrics, half = property_metrics.regression(
    read, truth, calibration, num_bootstrap=config.evaluate.num_bootstrap, seed=config.seed
  )
  return {
    'metrics': metrics,
    'constant': {'tau': 0.0, 'r2': 0.0, 'mae': float(np.abs(truth - guess).mean())},
    'outcome': {'truth': truth, 'mean': read[0, :, 0], 'half_width': half[0]},
  }
