"""Diversity: do the networks of an arm differ from each other?"""

from typing import Any

import numpy as np

from wsjax.evaluation import statistics


def agreement(labels: np.ndarray) -> np.ndarray:
  """Share of items on which two networks say the same.

  Args:
    labels: [N, n] predicted classes.

  Returns:
    [N, N] float64 in [0, 1].
  """
  count = np.zeros((len(labels), len(labels)))
  for value in np.unique(labels):  # Classes, not networks.
    chosen = (labels == value).astype(np.float32)
    count += chosen @ chosen.T
  return count / labels.shape[1]


def disagreement(agree: np.ndarray, error: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
  """Mean disagreement of pairs of different networks over the mean error rate.

  Division by the error rate makes networks of unequal quality comparable: copies have 0, whatever
  they get wrong.

  Args:
    agree: [N, N] from `agreement`.
    error: [N] error rates.
    weights: [B, N], rows sum to 1; pairs of a network with itself are left out, also where it was
      drawn more than once.

  Returns:
    [B]; infinite where nobody errs.

  Source: Fort et al. 2019, arXiv:1912.02757, section 4.1.
  """
  weights = np.asarray(weights, np.float64)
  differ = np.einsum('bi,bi->b', weights @ (1 - agree), weights)
  pairs = 1 - np.sum(weights**2, axis=1)
  with np.errstate(divide='ignore', invalid='ignore'):
    return differ / pairs / (weights @ error)


def metrics(
  labels: np.ndarray, correct: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Disagreement of an arm.

  Args:
    labels: [N, n] predicted classes.
    correct: [N, n] bool.
    groups: [N] which seed made each network.
    resampler: for the interval.

  Returns:
    metric -> entry of the report.
  """
  count = len(labels)
  if count < 2:
    return {'disagreement': statistics.not_run('one network has no pair')}
  agree = agreement(labels)
  error = 1 - np.mean(correct, axis=1, dtype=np.float64)
  value = disagreement(agree, error, weights=np.full((1, count), 1 / count))[0]
  resamples = disagreement(agree, error, weights=resampler.nets(groups))
  # A resample of one network drawn N times has no pair.
  resamples = resamples[np.isfinite(resamples)]
  return {
    'disagreement': statistics.stat(
      value,
      resamples if len(resamples) else None,
      n=count,
      method=statistics.net_method('bootstrap', groups),
    )
  }
