"""Distance between networks up to symmetry.

Greedy matching of deep networks ends in local optima, and a distance that
rests on one of them calls near copies new. So the distance is the minimum over
several ways to bring two networks together: as they are; balanced; both
aligned to one reference; one aligned to the other, from several starts of
which the alignment to the reference is one.
"""

import numpy as np

from wsjax import typing
from wsjax.symmetry import canonicalize, element, weight_matching
from wsjax.symmetry import spec as spec_lib

# Bytes of the stacks of weights that are moved or converted at once.
_MEMORY = 128 << 20
# The objective of a match is a float32 sum. Where the squared distance is a
# smaller share than this of the squared norms, it is summed again, directly.
_DIRECT_BELOW = 0.05


def pairwise(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.PermutationSpec,
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
    restarts: starts of the alignment of each pair, and of each network to the
      reference.
    seed: of the starts after the second.

  Returns:
    [A, B] float64 upper bound of min_g |a - g b|: Euclidean over all weights.

  Raises:
    ValueError: if weights do not fit the spec or are not finite, or
      restarts < 1.

  Source: matching by Ainsworth et al. 2023, arXiv:2209.04836.
  """
  num_a, num_b = (next(iter(x.values())).shape[0] for x in (a, b))
  pairs = np.stack(
    np.meshgrid(np.arange(num_a), np.arange(num_b), indexing='ij'), axis=-1
  ).reshape(-1, 2)
  squared = _squared(a, b, pairs, spec, reference, restarts, seed)
  return np.sqrt(squared).reshape(num_a, num_b)


def within(
  zoo: typing.StackedParams,
  spec: spec_lib.PermutationSpec,
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
  num = next(iter(zoo.values())).shape[0]
  rows, columns = np.triu_indices(num, 1)
  squared = _squared(
    zoo, zoo, np.stack([rows, columns], 1), spec, reference, restarts, seed
  )
  distance = np.zeros((num, num))
  distance[rows, columns] = distance[columns, rows] = np.sqrt(squared)
  return distance


def nearest(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.PermutationSpec,
  *,
  reference: typing.Params,
  exclude_same_index: bool = False,
  restarts: int = 3,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """The network of `b` that is nearest to each network of `a`.

  Args:
    a: weights of A networks.
    b: weights of B networks.
    spec: their symmetry.
    reference: as in `pairwise`.
    exclude_same_index: whether to leave out b[i] for a[i], when both are the
      same zoo.
    restarts: as in `pairwise`.
    seed: as in `pairwise`.

  Returns:
    [A] distance and [A] index into `b`.

  Raises:
    ValueError: as `pairwise`, and if nothing is left to be nearest.
  """
  distance = pairwise(
    a, b, spec, reference=reference, restarts=restarts, seed=seed
  )
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
  spec: spec_lib.PermutationSpec,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> float:
  """Median distance of a network of the zoo to the nearest other one.

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
  distance = within(
    zoo, spec, reference=reference, restarts=restarts, seed=seed
  )
  if len(distance) < 2:
    raise ValueError(f'tau needs at least 2 networks; got {len(distance)}.')
  np.fill_diagonal(distance, np.inf)
  return float(np.median(distance.min(axis=1)))


def _squared(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.PermutationSpec,
  reference: typing.Params,
  restarts: int,
  seed: int,
) -> np.ndarray:
  """[P] squared distances of the pairs."""
  spec.check(reference)
  spec.check(a, stacked=True)
  spec.check(b, stacked=True)
  paths = [leaf.path for leaf in spec.leaves]
  best = _euclidean(a, b, pairs, paths)
  a, b = canonicalize.balance_all(a, spec), canonicalize.balance_all(b, spec)
  best = np.minimum(best, _euclidean(a, b, pairs, paths))
  if not len(pairs) or not spec.groups:
    return best
  one = canonicalize.balance_all(
    {path: np.asarray(value)[None] for path, value in reference.items()}, spec
  )
  one = {path: value[0] for path, value in one.items()}
  to_reference = [
    weight_matching.weight_matching(
      one, stack, spec, restarts=restarts, seed=seed
    )
    for stack in (a, b)
  ]
  aligned = [
    canonicalize.apply_all(g, stack, spec)
    for g, stack in zip(to_reference, (a, b), strict=True)
  ]
  best = np.minimum(best, _euclidean(*aligned, pairs, paths))
  # For aligned networks the identity is the alignment to the reference.
  g, objective = weight_matching.best_of(
    *aligned,
    pairs,
    spec,
    restarts=restarts,
    seed=seed,
    solver='auto',
    from_identity=True,
    identity=False,
  )
  norms, pinned = _fixed_parts(*aligned, pairs, spec)
  estimate = np.maximum(norms - 2 * (pinned + objective), 0)
  direct = np.flatnonzero(
    (estimate < _DIRECT_BELOW * norms) & (estimate < best + 1e-4 * norms)
  )
  estimate[direct] = _direct(*aligned, pairs[direct], _take(g, direct), spec)
  return np.minimum(best, estimate)


def _euclidean(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  paths: list[str],
) -> np.ndarray:
  """[P] squared distances as they are; float64, for half the digits cancel."""
  num_a, num_b = (next(iter(x.values())).shape[0] for x in (a, b))
  product = np.zeros((num_a, num_b))
  norm_a, norm_b = np.zeros(num_a), np.zeros(num_b)
  for path in paths:
    one, two = (np.asarray(x[path]).reshape(len(x[path]), -1) for x in (a, b))
    width = max(1, _MEMORY // (8 * (num_a + num_b + 1)))
    for i in range(0, one.shape[1], width):
      left = one[:, i : i + width].astype(np.float64)
      right = two[:, i : i + width].astype(np.float64)
      product += left @ right.T
      norm_a += np.einsum('nd,nd->n', left, left)
      norm_b += np.einsum('nd,nd->n', right, right)
  squared = norm_a[:, None] + norm_b[None] - 2 * product
  return np.maximum(squared[pairs[:, 0], pairs[:, 1]], 0)


def _fixed_parts(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.PermutationSpec,
) -> tuple[np.ndarray, np.ndarray]:
  """What the objective leaves out: sums of squared norms, pinned products."""
  norm_a, norm_b, pinned = 0.0, 0.0, np.zeros(len(pairs))
  for leaf in spec.leaves:
    if any(
      axis.shift and axis.group and 'phase' in spec.group(axis.group).kinds
      for axis in leaf.axes
    ):
      continue  # The objective has the squared difference itself.
    one, two = (
      np.asarray(x[leaf.path]).reshape(len(x[leaf.path]), -1) for x in (a, b)
    )
    norm_a = norm_a + np.einsum('nd,nd->n', one, one, dtype=np.float64)
    norm_b = norm_b + np.einsum('nd,nd->n', two, two, dtype=np.float64)
    if all(axis.group is None for axis in leaf.axes):
      product = one.astype(np.float64) @ two.astype(np.float64).T
      pinned += product[pairs[:, 0], pairs[:, 1]]
  return norm_a[pairs[:, 0]] + norm_b[pairs[:, 1]], pinned


def _direct(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  g: element.GroupElement,
  spec: spec_lib.PermutationSpec,
) -> np.ndarray:
  """[P] squared distances |a - g b|^2 from the differences."""
  squared = np.zeros(len(pairs))
  size = max(1, _MEMORY // (16 * spec.num_params))
  for start in range(0, len(pairs), size):
    rows = np.arange(start, min(start + size, len(pairs)))
    # The last chunk is filled up, so that one size is compiled.
    filled = np.resize(rows, min(size, len(pairs)))
    moved = canonicalize.apply_all(
      _take(g, filled),
      {path: value[pairs[filled, 1]] for path, value in b.items()},
      spec,
    )
    for path, value in moved.items():
      gap = value[: len(rows)].astype(np.float64) - a[path][pairs[rows, 0]]
      squared[rows] += (gap**2).reshape(len(rows), -1).sum(axis=1)
  return squared


def _take(g: element.GroupElement, rows: np.ndarray) -> element.GroupElement:
  """Some of many elements."""
  return element.GroupElement(
    *(
      {id: np.asarray(x)[rows] for id, x in table.items()}
      for table in (g.perms, g.scales, g.turns)
    )
  )
