"""Distance between networks up to symmetry.

Greedy matching of deep networks ends in local optima, so near copies would look new. The distance
is the minimum over several ways to bring two networks together: as they are; balanced; both aligned
to one reference; one aligned to the other, from several starts, one of them that alignment.

Source: matching by Ainsworth et al. 2023, arXiv:2209.04836.
"""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Float, Int

from wsjax import typing
from wsjax.symmetry import canonicalize, group
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

# Share of its norm that float32 and alignment leave at most between a network and its rescaled,
# permuted copy.
ROUNDING = 1e-3
# Bytes of the stacks of weights that are moved or converted at once.
_MEMORY = 128 << 20
# The objective of a match is a float32 sum. Where the squared distance is a smaller share than this
# of the squared norms, it is summed again, directly.
_DIRECT_BELOW = 0.05
# A table of all products is faster than single ones, unless so many times fewer are wanted.
_FEW = 100
# Networks whose distances to all others are held at once.
_ROWS = 1024


def distance(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  pairs: Int[np.ndarray, 'p 2'] | None = None,
  restarts: int = 3,
  seed: int = 0,
) -> Float[np.ndarray, 'a b'] | Float[np.ndarray, ' p']:
  """Quotient distance min_g |a - g b|, Euclidean over all weights, from above.

  Args:
    a: weights of networks, [n, ...] each.
    b: weights of networks.
    spec: their symmetry.
    reference: weights of the network that both are aligned to.
    pairs: (index into a, index into b); None for every pair.
    restarts: starts of the alignment of each pair, and of each network to the reference.
    seed: of the starts after the second.

  Returns:
    The distance of each pair, float64; a table if no pairs are given.

  Raises:
    ValueError: if weights do not fit the spec or are not finite, or restarts < 1.
  """
  shape = tuple(next(iter(x.values())).shape[0] for x in (a, b))
  chosen = np.indices(shape).reshape(2, -1).T if pairs is None else np.asarray(pairs)
  found = np.sqrt(squared(a, b, chosen, spec, reference=reference, restarts=restarts, seed=seed))
  return found.reshape(shape) if pairs is None else found


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
  """Search for the network of a zoo that is nearest to another network, up to symmetry.

  To match every network with the whole zoo costs too much, so the distance is found for the
  `num_nearest` candidates by distance before matching and the `num_similar` by behaviour.

  Attributes:
    zoo: path -> [b, ...] networks to search among.
    spec: their symmetry.
    reference: weights of the network that all are aligned to.
    restarts: starts of every matching; `seed` is theirs.
  """

  zoo: typing.StackedParams
  spec: spec_lib.Spec
  reference: typing.Params
  restarts: int = 3
  seed: int = 0
  num_nearest: int = 8
  num_similar: int = 4

  @functools.cached_property
  def zoo_forms(self) -> tuple[typing.StackedParams, ...]:
    """`forms` of the zoo."""
    return self.forms(self.zoo)

  def forms(self, params: typing.StackedParams) -> tuple[typing.StackedParams, ...]:
    """Networks as they are, balanced, and aligned to the reference."""
    mode, options = 'permutation+scale', {'restarts': self.restarts, 'seed': self.seed}
    return (
      {path: np.asarray(value) for path, value in params.items()},
      canonicalize.balance_all(params, self.spec),
      canonicalize.canonicalize(params, self.spec, mode, reference=self.reference, **options),
    )

  def nearest(
    self,
    params: typing.StackedParams,
    *,
    similarity: Float[np.ndarray, 'a b'] | None = None,
    exclude_same_index: bool = False,
  ) -> tuple[Float[np.ndarray, ' a'], Int[np.ndarray, ' a']]:
    """Distance to the nearest network of the zoo, an upper bound, and which one it is.

    Args:
      params: path -> [a, ...] networks.
      similarity: of behaviour, such as the error-IoU; None if it is not known.
      exclude_same_index: whether network i is network i of the zoo, and is not compared with it.

    Returns:
      Distance and index; NaN and -1 for a network whose weights are not finite.

    Raises:
      ValueError: if networks of the zoo have weights that are not finite, or none is left to be
        nearest.
    """
    if broken := np.sum(~spec_lib.finite(self.zoo)):
      raise ValueError(f'{broken} networks of the zoo have weights that are not finite.')
    usable = spec_lib.finite(params)
    distance, index = np.full(len(usable), np.nan), np.full(len(usable), -1)
    rows = np.flatnonzero(usable)
    if len(rows):
      distance[rows], index[rows] = self._nearest(
        {path: np.asarray(value)[rows] for path, value in params.items()},
        None if similarity is None else similarity[rows],
        rows if exclude_same_index else None,
      )
    return distance, index

  def _nearest(
    self, params: typing.StackedParams, similarity: np.ndarray | None, excluded: np.ndarray | None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Distance and index for networks with finite weights; `excluded` are indices into the zoo."""
    mine, zoo = ([_flat(form) for form in forms] for forms in (self.forms(params), self.zoo_forms))
    pairs = [np.zeros((0, 2), int)]
    for start in range(0, len(mine[0]), _ROWS):
      rows = np.arange(start, min(start + _ROWS, len(mine[0])))
      estimate = np.full((len(rows), len(zoo[0])), np.inf)
      for a, b in zip(mine, zoo, strict=True):
        estimate = np.minimum(estimate, _table(a[rows], b))
      banned = np.zeros(estimate.shape, bool)
      if excluded is not None:
        banned[np.arange(len(rows)), excluded[rows]] = True
      if banned.all(axis=1).any():
        raise ValueError('No network is left to be nearest.')
      chosen = _smallest(np.where(banned, np.inf, estimate), self.num_nearest)
      if similarity is not None:
        chosen |= _smallest(np.where(banned, np.inf, -similarity[rows]), self.num_similar)
      pairs.append(np.argwhere(chosen & ~banned) + [start, 0])
    pairs = np.concatenate(pairs)
    options = {'reference': self.reference, 'restarts': self.restarts, 'seed': self.seed}
    found = squared(params, self.zoo, pairs, self.spec, **options)
    # Of each network the nearest, and of several the first.
    order = np.lexsort((pairs[:, 1], found, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    best = order[first]
    return np.sqrt(found[best]), pairs[best, 1]


def squared(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: Int[np.ndarray, 'p 2'],
  spec: spec_lib.Spec,
  *,
  reference: typing.Params,
  restarts: int,
  seed: int,
) -> Float[np.ndarray, ' p']:
  """Squared quotient distance of each pair; arguments as in `distance`."""
  spec.check(reference)
  spec.check(a, stacked=True)
  spec.check(b, stacked=True)
  paths = [leaf.path for leaf in spec.leaves]
  best = _euclidean(a, b, pairs, paths)
  a, b = canonicalize.balance_all(a, spec), canonicalize.balance_all(b, spec)
  best = np.minimum(best, _euclidean(a, b, pairs, paths))
  if not len(pairs) or not spec.groups:
    return best
  one = canonicalize.balance_one(reference, spec)
  options = {'restarts': restarts, 'seed': seed}
  moves = [weight_matching.weight_matching(one, stack, spec, **options) for stack in (a, b)]
  aligned = [canonicalize.apply_all(g, stack, spec) for g, stack in zip(moves, (a, b), strict=True)]
  best = np.minimum(best, _euclidean(*aligned, pairs, paths))
  return _matched(*aligned, pairs, spec, restarts, seed, best)


def _flat(params: typing.StackedParams) -> Float[np.ndarray, 'n p']:
  return np.concatenate([_rows(params, path) for path in sorted(params)], axis=1, dtype=np.float32)


def _table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[a, b] squared distances by inner products, good enough to choose by."""
  norms = [np.einsum('nd,nd->n', x, x) for x in (a, b)]
  return np.maximum(norms[0][:, None] + norms[1][None] - 2 * (a @ b.T), 0)


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
  """[a, b] bool: the k smallest of every row."""
  if k >= values.shape[1]:
    return np.ones(values.shape, bool)
  mask = np.zeros(values.shape, bool)
  if k:
    columns = np.argpartition(values, k - 1, axis=1)[:, :k]
    np.put_along_axis(mask, columns, True, axis=1)
  return mask


def _matched(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.Spec,
  restarts: int,
  seed: int,
  best: np.ndarray,
) -> np.ndarray:
  """[P] the smaller of `best` and the distance after matching each pair of aligned networks."""
  g, objective = weight_matching.match_pairs(
    a, b, pairs, spec, restarts=restarts, seed=seed, from_identity=True, identity=False
  )
  norms, pinned = _fixed_parts(a, b, pairs, spec)
  estimate = np.maximum(norms - 2 * (pinned + objective), 0)
  direct = np.flatnonzero((estimate < _DIRECT_BELOW * norms) & (estimate < best + 1e-4 * norms))
  estimate[direct] = _direct(a, b, pairs[direct], jax.tree.map(lambda x: x[direct], g), spec)
  return np.minimum(best, estimate)


def _euclidean(
  a: typing.StackedParams, b: typing.StackedParams, pairs: np.ndarray, paths: list[str]
) -> np.ndarray:
  """[P] squared distances as they are; float64, for half the digits cancel."""
  squared = np.zeros(len(pairs))
  for path in paths:
    one, two = _rows(a, path), _rows(b, path)
    squared += _norms(one)[pairs[:, 0]] + _norms(two)[pairs[:, 1]]
    squared -= 2 * _products(one, two, pairs)
  return np.maximum(squared, 0)


def _rows(stack: typing.StackedParams, path: str) -> np.ndarray:
  """[n, d] one parameter of n networks."""
  return np.asarray(stack[path]).reshape(len(stack[path]), -1)


def _norms(rows: np.ndarray) -> np.ndarray:
  """[n] squared norms in float64."""
  return np.einsum('nd,nd->n', rows, rows, dtype=np.float64)


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
  """Parts that the objective lacks: sums of squared norms, products of pinned parameters."""
  norm_a, norm_b, pinned = 0.0, 0.0, np.zeros(len(pairs))
  for leaf in spec.leaves:
    if any(a.shift and a.group and 'phase' in spec.group(a.group).kinds for a in leaf.axes):
      continue  # The objective has the squared difference itself.
    one, two = _rows(a, leaf.path), _rows(b, leaf.path)
    norm_a, norm_b = norm_a + _norms(one), norm_b + _norms(two)
    if all(axis.group is None for axis in leaf.axes):
      pinned += _products(one, two, pairs)
  return norm_a[pairs[:, 0]] + norm_b[pairs[:, 1]], pinned


def _direct(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  g: group.GroupElement,
  spec: spec_lib.Spec,
) -> np.ndarray:
  """[P] squared distances |a - g b|^2 from the differences."""
  squared = np.zeros(len(pairs))
  size = max(1, _MEMORY // (16 * spec.num_params))
  for start in range(0, len(pairs), size):
    rows = np.arange(start, min(start + size, len(pairs)))
    # The last chunk is filled up, so that one size is compiled.
    filled = np.resize(rows, min(size, len(pairs)))
    chosen = jax.tree.map(lambda x, rows=filled: x[rows], g)
    moving = {path: value[pairs[filled, 1]] for path, value in b.items()}
    moved = canonicalize.apply_all(chosen, moving, spec)
    for path, value in moved.items():
      gap = value[: len(rows)].astype(np.float64) - a[path][pairs[rows, 0]]
      squared[rows] += (gap**2).reshape(len(rows), -1).sum(axis=1)
  return squared
