"""Control: does a conditioned generator deliver the property that was requested?

The baseline is retrieval: the training network whose property is nearest to the request.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats

from wsjax.evaluation import statistics

KEYS = ('spearman', 'mae', 'slope', 'r2')


def measure(
  requested: np.ndarray, achieved: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Agreement of the requested and the achieved property.

  Args:
    requested: [N] what each network was conditioned on.
    achieved: [N] the property that it has; networks where it is not finite are left out.
    groups: [N] which seed made each network.
    resampler: for the intervals, over networks.

  Returns:
    'spearman' rank correlation; 'mae' mean absolute difference; 'slope' of the least squares line
    of achieved on requested, 1 if control is calibrated, 0 if the condition is ignored; 'r2' = 1 -
    mean square difference / variance of the requests, below 0 if their mean would be nearer.

  Raises:
    ValueError: if there are not as many requests as networks.
  """
  requested, achieved = (np.asarray(value, np.float64) for value in (requested, achieved))
  if requested.shape != achieved.shape or requested.ndim != 1:
    raise ValueError(
      'Control needs one request for each network; got shapes '
      f'{requested.shape} and {achieved.shape}.'
    )
  keep = np.isfinite(achieved)
  x, y, groups = requested[keep], achieved[keep], np.asarray(groups)[keep]
  if len(x) < 3 or np.ptp(x) == 0:
    reason = statistics.not_run('fewer than three networks, or one request for all')
    return {key: reason for key in KEYS}
  weights = resampler.networks(groups).astype(np.float64)
  method = statistics.method_name('bootstrap', groups)
  uniform = np.full((1, len(x)), 1 / len(x))

  def entry(statistic: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    # A resample of one request only has no slope, and is left out.
    return statistics.stat(
      float(statistic(uniform)[0]), statistic(weights), n=len(x), method=method
    )

  # Ranks are those of all networks also in a resample, where ties are many.
  ranks = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
  return {
    'spearman': entry(lambda w: _moments(w, *ranks)[2]),
    'mae': entry(lambda w: w @ np.abs(y - x)),
    'slope': entry(lambda w: _moments(w, x, y)[1]),
    'r2': entry(lambda w: 1 - w @ (y - x) ** 2 / _moments(w, x, y)[0]),
  }


def nearest(requested: np.ndarray, available: np.ndarray) -> np.ndarray:
  """[N] places in `available` [T] of the nearest to each request [N]; the first of equals."""
  return np.argmin(np.abs(np.asarray(requested)[:, None] - np.asarray(available)[None]), axis=1)


def compare(
  requested: np.ndarray,
  achieved: np.ndarray,
  train_labels: np.ndarray,
  train_achieved: np.ndarray,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """A generator beside retrieval of the nearest training network.

  Args:
    requested: [N] what each network was conditioned on.
    achieved: [N] the property that it has.
    train_labels: [T] the property that training networks were labelled with, for retrieval.
    train_achieved: [T] the property that training networks have, measured as `achieved`.
    groups: [N] which seed made each network.
    resampler: for the intervals; both rows share the resampled requests.

  Returns:
    'generator' and 'retrieval': entries of `measure`; 'outside': share of requests beyond all
    training networks; 'inside' and 'beyond': entries of the generator for the requests on either
    side; 'mae_gain': how much less than retrieval the generator misses by, paired over requests.

  Raises:
    ValueError: if there are not as many requests as networks, or no training network has a finite
      label.
  """
  requested, achieved = np.asarray(requested), np.asarray(achieved)
  train_labels = np.asarray(train_labels)
  if not np.isfinite(train_labels).any():
    raise ValueError('Retrieval needs training networks with finite labels.')
  usable = np.flatnonzero(np.isfinite(train_labels))
  found = usable[nearest(requested, train_labels[usable])]
  retrieved = np.asarray(train_achieved)[found]
  outside = extrapolates(requested, train_labels[usable])
  gain = np.abs(retrieved - requested) - np.abs(achieved - requested)

  def part(chosen: np.ndarray) -> dict[str, Any]:
    return measure(requested[chosen], achieved[chosen], groups[chosen], resampler)

  return {
    'generator': measure(requested, achieved, groups, resampler),
    'retrieval': measure(requested, retrieved, groups, resampler),
    'outside': statistics.rate(outside),
    'inside': part(~outside),
    'beyond': part(outside),
    'mae_gain': statistics.over_networks(gain, groups, resampler),
  }


def extrapolates(requested: np.ndarray, available: np.ndarray) -> np.ndarray:
  """[N] whether a request lies beyond all training networks [T]."""
  return (requested < np.min(available)) | (requested > np.max(available))


def _moments(
  weights: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """[B] variance of x, slope of y on x, and correlation, under weights."""
  x, y = x - x.mean(), y - y.mean()  # Differences of squares lose digits.
  mean_x, mean_y = weights @ x, weights @ y
  var_x = np.maximum(weights @ x**2 - mean_x**2, 0)
  var_y = np.maximum(weights @ y**2 - mean_y**2, 0)
  covariance = weights @ (x * y) - mean_x * mean_y
  with np.errstate(divide='ignore', invalid='ignore'):
    correlation = covariance / np.sqrt(var_x * var_y)
    return var_x, covariance / var_x, correlation
