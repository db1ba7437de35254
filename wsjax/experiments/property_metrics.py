"""How well a property is read from weights: scores with intervals.

Every score is a mean over training seeds of a statistic over test networks; intervals resample
both. All runs on one zoo share the resampled networks, so that their differences are paired.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from wsjax.evaluation import calibration_error, statistics

# Share of test networks that an interval of a regressor should hold.
COVERAGE = 0.9

Scores = dict[str, dict[str, Any]]


def classification(
  logits: np.ndarray, labels: np.ndarray, *, num_bootstrap: int, seed: int
) -> Scores:
  """Scores of a classifier of networks.

  Args:
    logits: [S, n, k] of S training seeds.
    labels: [n] int.
    num_bootstrap: resamples.
    seed: of the resamples.

  Returns:
    'accuracy', 'nll' (nats), 'brier' and 'ece' with intervals.

  Source: Guo et al. 2017, arXiv:1706.04599 (ECE, 15 bins).
  """
  log_p = scipy.special.log_softmax(logits.astype(np.float64), -1)
  p = np.exp(log_p)
  hits = p.argmax(-1) == labels
  nll = -np.take_along_axis(log_p, labels[None, :, None], -1)[..., 0]
  brier = ((p - np.eye(p.shape[-1])[labels]) ** 2).sum(-1)
  tables = {'accuracy': hits, 'nll': nll, 'brier': brier}
  scores = {
    name: statistics.over_seeds(
      lambda s, rows, table=table: table[s, rows].mean(), *table.shape, num_bootstrap, seed
    )
    for name, table in tables.items()
  }
  gaps = calibration_error.gaps(p.max(-1), hits)
  scores['ece'] = statistics.over_seeds(
    lambda s, rows: calibration_error.ece(gaps[s, rows]), *hits.shape, num_bootstrap, seed
  )
  return scores


def regression(
  outputs: np.ndarray,
  targets: np.ndarray,
  calibration: tuple[np.ndarray, np.ndarray],
  *,
  num_bootstrap: int,
  seed: int,
) -> tuple[Scores, np.ndarray]:
  """Scores of a regressor of networks.

  Args:
    outputs: [S, n, 2] mean and standard deviation, of S training seeds.
    targets: [n].
    calibration: outputs [S, v, 2] and targets [v] of the validation split, from which the width of
      intervals is taken.
    num_bootstrap: resamples.
    seed: of the resamples.

  Returns:
    'tau' (Kendall's tau-b), 'r2', 'mae', 'coverage' of intervals that should hold `COVERAGE` and
    their mean 'width', each with its own interval; and
    half the width of every one, [S, n].

  Source: Kendall 1945, Biometrika 33:239 (tau-b); Lei et al. 2018, arXiv:1604.04173, section 5.2
    (split conformal, locally weighted).
  """
  mean, std = outputs[..., 0], outputs[..., 1]
  factors = [_conformal(*pair, calibration[1]) for pair in calibration[0]
             .transpose(0, 2, 1)]  # fmt: skip
  half = std * np.asarray(factors)[:, None]
  inside = np.abs(targets - mean) <= half

  def r2(s: int, rows: np.ndarray) -> float:
    y = targets[rows]
    return 1 - np.mean((y - mean[s, rows]) ** 2) / np.var(y)

  def tau(s: int, rows: np.ndarray) -> float:
    if len(rows) < 2:
      return np.nan
    return scipy.stats.kendalltau(mean[s, rows], targets[rows]).statistic

  statistic: dict[str, Callable[[int, np.ndarray], float]] = {
    'tau': tau,
    'r2': r2,
    'mae': lambda s, rows: np.abs(targets[rows] - mean[s, rows]).mean(),
    'coverage': lambda s, rows: inside[s, rows].mean(),
    'width': lambda s, rows: 2 * half[s, rows].mean(),
  }
  scores = {
    name: statistics.over_seeds(function, *mean.shape, num_bootstrap, seed)
    for name, function in statistic.items()
  }
  return scores, half


def _conformal(mean: np.ndarray, std: np.ndarray, targets: np.ndarray) -> float:
  """Half width of an interval, in standard deviations, by held-out errors."""
  errors = np.sort(np.abs(targets - mean) / std)
  rank = min(int(np.ceil(COVERAGE * (len(errors) + 1))), len(errors))
  return float(errors[rank - 1])
