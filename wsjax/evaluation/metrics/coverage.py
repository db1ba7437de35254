"""Coverage: do the samples lie where further training runs lie, and all over?

Balls are those of held-out networks and of samples, never of the training networks: a copy lies in
the middle of their balls, and would look best.
"""

import numpy as np
import scipy.spatial.distance

NEIGHBOURS = 5


def radii(features: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
  """Distance of each network to its k-th nearest other one.

  Args:
    features: [N, f].
    k: neighbours, below N.

  Returns:
    [N].

  Raises:
    ValueError: if there are not more than k networks.
  """
  if len(features) <= k:
    raise ValueError(
      f'The ball of {k} neighbours needs more than {k} networks; got {len(features)}.'
    )
  table = scipy.spatial.distance.cdist(features, features)
  return np.sort(table, axis=1)[:, k]  # Column 0 is the network itself.


def compare(real: np.ndarray, samples: np.ndarray, *, k: int = NEIGHBOURS) -> dict[str, np.ndarray]:
  """Density, coverage, precision and recall, network by network.

  The mean of each array is the metric of that name.

  Args:
    real: [N, f] held-out networks.
    samples: [N, f] equally many samples: with more, every ball would be hit.
    k: neighbours that make a ball.

  Returns:
    density: [N] balls of real networks around each sample, over k; mean 1 where both are alike,
      more where samples crowd the densest places.
    coverage: [N] bool, whether the ball of each real network holds a sample.
    precision: [N] bool, whether each sample is in a ball of a real network.
    recall: [N] bool, whether each real network is in a ball of a sample. Stray samples have large
      balls, so read it beside coverage.

  Raises:
    ValueError: if the sizes differ or are not more than k.

  Source: Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4 (density and coverage);
    Kynkaanniemi et al. 2019, arXiv:1904.06991 (the other two).
  """
  if real.shape != samples.shape:
    raise ValueError(
      f'compare needs equally many real networks and samples; got {real.shape} and {samples.shape}.'
    )
  table = scipy.spatial.distance.cdist(real, samples)
  inside = table <= radii(real, k)[:, None]
  return {
    'density': inside.sum(axis=0) / k,
    'coverage': inside.any(axis=1),
    'precision': inside.any(axis=0),
    'recall': (table <= radii(samples, k)[None]).any(axis=1),
  }
