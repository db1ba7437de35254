"""Distance between networks up to symmetry.

Greedy matching of deep networks ends in local optima, and a distance that rests on one of them
calls near copies new. So the distance is the minimum over several ways to bring two networks
together: as they are; balanced; both
aligned to one reference; one aligned to the other, from several starts of which the alignment to
the reference is one.
"""

import numpy as np

from wsjax import typing
from wsjax.symmetry import pair_distance
from wsjax.symmetry import spec as spec_lib

# How many of the nearest networks get all starts when only the nearest counts.
_CANDIDATES = 8


def pairwise(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> np.ndarray:
  """Quotient distance of every network of `a` to every network of `b`.

  Args:
    a: weights of A networks, [A, ...] each.
    b: weights of B networks.
    spec: their symmetry.
    reference: weights of the network that both are aligned to.
    restarts: starts of the alignment of each pair, and of each network to the reference.
    seed: of the starts after the second.

  Returns:
    [A, B] float64 upper bound of min_g |a - g b|: Euclidean over all weights.

  Raises:
    ValueError: if weights do not fit the spec or are not finite, or restarts < 1.

  Source: matching by Ainsworth et al. 2023, arXiv:2209.04836.
  """
  return _pairwise(a, b, spec, reference, restarts, seed, None)


def within(
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> np.ndarray:
  """Quotient distance between the networks of one zoo, each pair once.

  Args:
    zoo: weights of N networks.
    spec: their symmetry.
    reference: as in `pairwise`.
    restarts: as in `pairwise`.
    seed: as in `pairwise`.

  Returns:
    [N, N] float64, symmetric, zero on the diagonal.

  Raises:
    ValueError: as `pairwise`.
  """
  return _within(zoo, spec, reference, restarts, seed, None)


def nearest(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  exclude_same_index: bool = False,
  restarts: int = 3,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """The network of `b` that is nearest to each network of `a`.

  Every pair is matched from the alignment to the reference; the other starts are for the 8 pairs
  that are then nearest, of each network.

  Args:
    a: weights of A networks.
    b: weights of B networks.
    spec: their symmetry.
    reference: as in `pairwise`.
    exclude_same_index: whether to leave out b[i] for a[i], when both are the same zoo.
    restarts: as in `pairwise`.
    seed: as in `pairwise`.

  Returns:
    [A] distance and [A] index into `b`.

  Raises:
    ValueError: as `pairwise`, and if nothing is left to be nearest.
  """
  distance = _pairwise(a, b, spec, reference, restarts, seed, _CANDIDATES)
  if exclude_same_index:
    np.fill_diagonal(distance, np.inf)
  if not distance.shape[1] or np.isinf(distance).all(axis=1).any():
    raise ValueError(
      f'No network is left to be nearest: {distance.shape[1]} given, '
      f'exclude_same_index={exclude_same_index}.'
    )
  return distance.min(axis=1), distance.argmin(axis=1)


def tau(
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> float:
  """Median distance of a network of the zoo to the nearest other one.

  Other starts than the alignment to the reference are for the 8 pairs that are nearest, as in
  `nearest`.

  Args:
    zoo: weights of N networks, one per training run.
    spec: their symmetry.
    reference: as in `pairwise`.
    restarts: as in `pairwise`.
    seed: as in `pairwise`.

  Returns:
    The unit of novelty: what independent training runs are apart.

  Raises:
    ValueError: as `pairwise`, and for fewer than two networks.
  """
  distance = _within(zoo, spec, reference, restarts, seed, _CANDIDATES)
  if len(distance) < 2:
    raise ValueError(f'tau needs at least 2 networks; got {len(distance)}.')
  np.fill_diagonal(distance, np.inf)
  return float(np.median(distance.min(axis=1)))


def _pairwise(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  reference: typing.Params,
  restarts: int,
  seed: int,
  candidates: int | None,
) -> np.ndarray:
  """`pairwise`, with all starts only for some if `candidates` is given."""
  num_a, num_b = (next(iter(x.values())).shape[0] for x in (a, b))
  pairs = np.indices((num_a, num_b)).reshape(2, -1).T
  squared = pair_distance.squared(
    a, b, pairs, spec, reference=reference, restarts=restarts, seed=seed, candidates=candidates
  )
  return np.sqrt(squared).reshape(num_a, num_b)


def _within(
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  reference: typing.Params,
  restarts: int,
  seed: int,
  candidates: int | None,
) -> np.ndarray:
  """`within`, with all starts only for some if `candidates` is given."""
  num = next(iter(zoo.values())).shape[0]
  rows, columns = np.triu_indices(num, 1)
  pairs = np.stack([rows, columns], axis=1)
  squared = pair_distance.squared(
    zoo, zoo, pairs, spec, reference=reference, restarts=restarts, seed=seed, candidates=candidates
  )
  distance = np.zeros((num, num))
  distance[rows, columns] = distance[columns, rows] = np.sqrt(squared)
  return distance
