"""Fidelity: are the weights distributed as those of the zoo?

A generator that has collapsed to the mean of the zoo can look accurate. It cannot hide the spread
of its samples. All vectors here are canonical forms: otherwise the spread of the zoo is mostly the
order of its units.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, statistics

# Bins per leaf; what lies outside these quantiles of the zoo is not drawn.
_NUM_BINS = 40
_RANGE = (0.001, 0.999)
_MAX_VALUES = 500_000


def gram(vectors: np.ndarray) -> np.ndarray:
  """[N, N] inner products of N centred vectors [N, d], divided by d."""
  centred = vectors - vectors.mean(axis=0, keepdims=True, dtype=np.float64)
  centred = centred.astype(np.float32)
  return (centred @ centred.T).astype(np.float64) / vectors.shape[1]


def dispersion(products: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
  """Root mean square over coordinates of the standard deviation over networks.

  Args:
    products: [N, N] from `gram`.
    weights: [B, N], rows sum to 1; None weighs all alike.

  Returns:
    [B] in units of the weights, with the N - 1 correction; a scalar array without weights.
  """
  count = len(products)
  if weights is None:
    weights = np.full(count, 1 / count)
  mean_square = weights @ np.diag(products)
  square_mean = np.sum((weights @ products) * weights, axis=-1)
  variance = np.maximum(mean_square - square_mean, 0)
  return np.sqrt(variance * count / (count - 1))


def metrics(
  vectors: np.ndarray,
  zoo_dispersion: float,
  zoo_rms: float,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Spread and size of the samples over those of the zoo.

  Args:
    vectors: [N, d] canonical forms of the samples.
    zoo_dispersion: `dispersion` of the canonical training networks.
    zoo_rms: root mean square of all their weights.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report: rms_ratio is the ratio of dispersions (0 for a generator that has
    collapsed, 1 for the zoo), norm_ratio that of the root mean squares.
  """
  count = len(vectors)
  method = statistics.net_method('bootstrap', groups)
  norm = np.sqrt(np.mean(np.square(vectors, dtype=np.float64), axis=1))
  result = {
    'rms_ratio': statistics.not_run('one network has no spread'),
    'norm_ratio': statistics.over_nets(norm / zoo_rms, groups, resampler),
  }
  if count > 1:
    products = gram(vectors)
    resamples = dispersion(products, weights=resampler.nets(groups))
    result['rms_ratio'] = statistics.stat(
      float(dispersion(products)) / zoo_dispersion,
      resamples / zoo_dispersion,
      n=count,
      method=method,
    )
  return result


def bin_edges(zoo: typing.StackedParams) -> dict[str, np.ndarray]:
  """Edges of equal bins over the central weights of each leaf of the zoo.

  Args:
    zoo: path -> [N, ...] canonical training networks.

  Returns:
    path -> [k + 1].
  """
  edges = {}
  for path, value in zoo.items():
    low, high = np.quantile(_some(value), _RANGE)
    margin = 1e-6 if low == high else 0.0
    edges[path] = np.linspace(low - margin, high + margin, _NUM_BINS + 1)
  return edges


def densities(params: typing.StackedParams, edges: dict[str, np.ndarray]) -> dict[str, list[float]]:
  """Histogram of each leaf.

  Args:
    params: path -> [N, ...] canonical networks.
    edges: path -> [k + 1].

  Returns:
    path -> k densities; weights outside the edges count in the total, so the area is the share
    inside.
  """
  result = {}
  for path, value in params.items():
    value = _some(value)
    counts, _ = np.histogram(value, edges[path])
    result[path] = (counts / len(value) / np.diff(edges[path])).tolist()
  return result


def _some(value: typing.Array) -> np.ndarray:
  """Weights of the first networks, as many as are worth counting."""
  value = np.asarray(value)
  return value[: max(_MAX_VALUES // value[0].size, 2)].ravel()


def root_mean_square(params: typing.StackedParams) -> float:
  """Root mean square of all weights of all networks."""
  return float(np.sqrt(np.mean(np.square(methods.flatten(params), dtype=float))))
