"""Squared quotient distances of a list of pairs: the work behind `distance`."""

import numpy as np

from wsjax import typing
from wsjax.symmetry import canonicalize, element
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

# Bytes of the stacks of weights that are moved or converted at once.
_MEMORY = 128 << 20
# The objective of a match is a float32 sum. Where the squared distance is a smaller share than this
# of the squared norms, it is summed again, directly.
_DIRECT_BELOW = 0.05
# A table of all products is faster than single ones, unless so many times fewer are wanted.
_FEW = 100


def squared(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  restarts: int,
  seed: int,
  candidates: int | None = None,
) -> np.ndarray:
  """Squared quotient distance of each pair, by the minimum rule.

  Args:
    a: weights of A networks.
    b: weights of B networks.
    pairs: [P, 2] int, (index into a, index into b).
    spec: their symmetry.
    reference: weights of the network that both are aligned to.
    restarts: starts of each alignment.
    seed: of the starts after the second.
    candidates: if given, all starts are only for the pairs that after the first are among so many
      nearest of one of their networks.

  Returns:
    [P] float64.

  Raises:
    ValueError: if weights do not fit the spec or are not finite, or restarts < 1.
  """
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
    weight_matching.weight_matching(one, stack, spec, restarts=restarts, seed=seed)
    for stack in (a, b)
  ]
  aligned = [
    canonicalize.apply_all(g, stack, spec) for g, stack in zip(to_reference, (a, b), strict=True)
  ]
  best = np.minimum(best, _euclidean(*aligned, pairs, paths))
  if candidates is None:
    return _matched(*aligned, pairs, spec, restarts, seed, best)
  best = _matched(*aligned, pairs, spec, 1, seed, best)
  again = _smallest(best, pairs, candidates)
  best[again] = _matched(*aligned, pairs[again], spec, restarts, seed, best[again])
  return best


def _smallest(values: np.ndarray, pairs: np.ndarray, count: int) -> np.ndarray:
  """Indices of pairs that are among the `count` smallest of either network."""
  chosen = np.zeros(len(pairs), bool)
  for column in pairs.T:
    order = np.lexsort((values, column))
    starts = np.searchsorted(column[order], column[order])
    chosen[order[np.arange(len(order)) - starts < count]] = True
  return np.flatnonzero(chosen)


def _matched(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.Spec,
  restarts: int,
  seed: int,
  best: np.ndarray,
) -> np.ndarray:
  """The smaller of `best` and what matching each pair finds, [P].

  The networks are aligned to one reference, so that for the first start the identity is that
  alignment.
  """
  g, objective = weight_matching.best_of(
    a,
    b,
    pairs,
    spec,
    restarts=restarts,
    seed=seed,
    solver='auto',
    from_identity=True,
    identity=False,
  )
  norms, pinned = _fixed_parts(a, b, pairs, spec)
  estimate = np.maximum(norms - 2 * (pinned + objective), 0)
  direct = np.flatnonzero((estimate < _DIRECT_BELOW * norms) & (estimate < best + 1e-4 * norms))
  estimate[direct] = _direct(a, b, pairs[direct], _take(g, direct), spec)
  return np.minimum(best, estimate)


def _euclidean(
  a: typing.StackedParams, b: typing.StackedParams, pairs: np.ndarray, paths: list[str]
) -> np.ndarray:
  """[P] squared distances as they are; float64, for half the digits cancel."""
  squared = np.zeros(len(pairs))
  for path in paths:
    one, two = (np.asarray(x[path]).reshape(len(x[path]), -1) for x in (a, b))
    norms = [np.einsum('nd,nd->n', x, x, dtype=np.float64) for x in (one, two)]
    squared += norms[0][pairs[:, 0]] + norms[1][pairs[:, 1]]
    squared -= 2 * _products(one, two, pairs)
  return np.maximum(squared, 0)


def _products(a: np.ndarray, b: np.ndarray, pairs: np.ndarray) -> np.ndarray:
  """[P] inner products a[i] . b[j] of rows, summed in float64."""
  product = np.zeros(len(pairs))
  if len(pairs) * _FEW < len(a) * len(b):
    size = max(1, _MEMORY // (16 * max(a.shape[1], 1)))
    for start in range(0, len(pairs), size):
      i, j = pairs[start : start + size].T
      product[start : start + size] = np.einsum('pd,pd->p', a[i], b[j], dtype=np.float64)
    return product
  table = np.zeros((len(a), len(b)))
  width = max(1, _MEMORY // (8 * (len(a) + len(b) + 1)))
  for start in range(0, a.shape[1], width):
    columns = slice(start, start + width)
    left, right = a[:, columns], b[:, columns]
    table += left.astype(np.float64) @ right.astype(np.float64).T
  return table[pairs[:, 0], pairs[:, 1]]


def _fixed_parts(
  a: typing.StackedParams, b: typing.StackedParams, pairs: np.ndarray, spec: spec_lib.Spec
) -> tuple[np.ndarray, np.ndarray]:
  """What the objective leaves out: sums of squared norms, pinned products."""
  norm_a, norm_b, pinned = 0.0, 0.0, np.zeros(len(pairs))
  for leaf in spec.leaves:
    if any(
      axis.shift and axis.group and 'phase' in spec.group(axis.group).kinds for axis in leaf.axes
    ):
      continue  # The objective has the squared difference itself.
    one, two = (np.asarray(x[leaf.path]).reshape(len(x[leaf.path]), -1) for x in (a, b))
    norm_a = norm_a + np.einsum('nd,nd->n', one, one, dtype=np.float64)
    norm_b = norm_b + np.einsum('nd,nd->n', two, two, dtype=np.float64)
    if all(axis.group is None for axis in leaf.axes):
      pinned += _products(one, two, pairs)
  return norm_a[pairs[:, 0]] + norm_b[pairs[:, 1]], pinned


def _direct(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  g: element.GroupElement,
  spec: spec_lib.Spec,
) -> np.ndarray:
  """[P] squared distances |a - g b|^2 from the differences."""
  squared = np.zeros(len(pairs))
  size = max(1, _MEMORY // (16 * spec.num_params))
  for start in range(0, len(pairs), size):
    rows = np.arange(start, min(start + size, len(pairs)))
    # The last chunk is filled up, so that one size is compiled.
    filled = np.resize(rows, min(size, len(pairs)))
    moved = canonicalize.apply_all(
      _take(g, filled), {path: value[pairs[filled, 1]] for path, value in b.items()}, spec
    )
    for path, value in moved.items():
      gap = value[: len(rows)].astype(np.float64) - a[path][pairs[rows, 0]]
      squared[rows] += (gap**2).reshape(len(rows), -1).sum(axis=1)
  return squared


def _take(g: element.GroupElement, rows: np.ndarray) -> element.GroupElement:
  """Some of many elements."""
  return element.GroupElement(
    *(
      {id: np.asarray(x)[rows] for id, x in table.items()} for table in (g.perms, g.scales, g.turns)
    )
  )
