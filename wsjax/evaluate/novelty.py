"""Novelty: how far a sample is from what the generator was shown."""

import dataclasses
import functools
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluate import arms, gate, statistics
from wsjax.symmetry import canonicalize, element, weight_matching
from wsjax.symmetry import spec as spec_lib

# Bytes of the weights that are subtracted or moved at once.
_MEMORY = 64 << 20

# Inner products in float32 lose digits of squared distances below this share
# of the squared norm.
_NEAR = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
  """Finds the training network nearest to each sample, up to symmetry.

  The distance is the minimum over the weights as they are, balanced, both
  aligned to one reference, and aligned to each other, since any one matching
  may end in a local optimum and call a near copy new. Matching every sample
  with every training network costs too much, so that is done for candidates:
  the nearest ones before it, and those that behave most alike. What is found
  is an upper bound; tau is found by the same rule.

  Attributes:
    train: path -> [B, ...] training networks.
    spec: their symmetry.
    reference: weights of the network that all are aligned to.
    restarts: starts of every matching.
    seed: of the starts.
    num_nearest: candidates by distance before pairwise matching.
    num_similar: candidates by behaviour.
  """

  train: typing.StackedParams
  spec: spec_lib.PermutationSpec
  reference: typing.Params
  restarts: int = 3
  seed: int = 0
  num_nearest: int = 8
  num_similar: int = 4

  @functools.cached_property
  def train_forms(self) -> tuple[typing.StackedParams, ...]:
    """`forms` of the training networks."""
    return self.forms(self.train)

  def forms(
    self, params: typing.StackedParams
  ) -> tuple[typing.StackedParams, ...]:
    """Finite weights as they are, balanced, and aligned to the reference."""
    return tuple(
      form(params)
      for form in (
        lambda nets: arms.take(nets, slice(None)),
        lambda nets: canonicalize.balance_all(nets, self.spec),
        lambda nets: canonicalize.canonicalize(
          nets,
          self.spec,
          'permutation+scale',
          reference=self.reference,
          restarts=self.restarts,
          seed=self.seed,
        ),
      )
    )

  def nearest(
    self,
    params: typing.StackedParams,
    *,
    similarity: np.ndarray | None = None,
    exclude_same_index: bool = False,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest training network, and which one it is.

    Args:
      params: path -> [A, ...] samples.
      similarity: [A, B] likeness of behaviour, such as the error-IoU; None if
        it is not known.
      exclude_same_index: whether sample i is training network i, which it is
        then not compared with.

    Returns:
      [A] distance, NaN for a sample whose weights are not finite; [A] index,
      -1 for it.

    Raises:
      ValueError: if training networks have weights that are not finite, or
        none is left to be nearest.
    """
    usable = arms.usable(params)
    broken = np.sum(~arms.usable(self.train))
    if broken:
      raise ValueError(f'{broken} training networks have no finite weights.')
    distance = np.full(len(usable), np.nan)
    index = np.full(len(usable), -1)
    rows = np.flatnonzero(usable)
    if len(rows):
      distance[rows], index[rows] = self._nearest(
        arms.take(params, rows),
        None if similarity is None else similarity[rows],
        rows if exclude_same_index else None,
      )
    return distance, index

  def _nearest(
    self,
    params: typing.StackedParams,
    similarity: np.ndarray | None,
    excluded: np.ndarray | None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, of usable samples; `excluded` is one index per sample."""
    forms = tuple(zip(self.forms(params), self.train_forms, strict=True))
    flat = [(arms.flatten(a), arms.flatten(b)) for a, b in forms]
    squared = [_squared(a, b) for a, b in flat]
    estimate = np.min(squared, axis=0)
    banned = np.zeros(estimate.shape, bool)
    if excluded is not None:
      banned[np.arange(len(excluded)), excluded] = True
    if banned.all(axis=1).any():
      raise ValueError('No training network is left to be nearest.')
    chosen = _smallest(np.where(banned, np.inf, estimate), self.num_nearest)
    if similarity is not None:
      chosen |= _smallest(
        np.where(banned, np.inf, -similarity), self.num_similar
      )
    pairs = np.argwhere(chosen & ~banned)
    distances = [
      _refined(form, a, b, pairs)
      for form, (a, b) in zip(squared, flat, strict=True)
    ]
    distances.append(self._matched(*forms[-1], pairs))
    table = np.full(estimate.shape, np.inf)
    table[pairs[:, 0], pairs[:, 1]] = np.min(distances, axis=0)
    return table.min(axis=1), table.argmin(axis=1)

  def _matched(
    self,
    a: typing.StackedParams,
    b: typing.StackedParams,
    pairs: np.ndarray,
  ) -> np.ndarray:
    """[P] distances after moving b of each pair onto a."""
    g = weight_matching.match_pairs(
      a, b, pairs, self.spec, restarts=self.restarts, seed=self.seed
    )
    size = _chunk(self.spec.num_params)
    distances = []
    for start in range(0, len(pairs), size):
      rows = np.arange(start, min(start + size, len(pairs)))
      # The last chunk is filled up, so that one size is compiled.
      filled = np.resize(rows, min(size, len(pairs)))
      moved = canonicalize.apply_all(
        _take(g, filled), arms.take(b, pairs[filled, 1]), self.spec
      )
      gap = arms.flatten(moved) - arms.flatten(arms.take(a, pairs[filled, 0]))
      distances.append(_norm(gap)[: len(rows)])
    return np.concatenate(distances)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A, B] squared distances, by inner products: poor near zero."""
  norms = [np.einsum('nd,nd->n', x, x) for x in (a, b)]
  squared = norms[0][:, None] + norms[1][None] - 2 * (a @ b.T)
  return np.maximum(squared, 0)


def _refined(
  squared: np.ndarray, a: np.ndarray, b: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
  """[P] distances of pairs, summed again from differences where near zero."""
  squared = squared[pairs[:, 0], pairs[:, 1]]
  norms = np.einsum('nd,nd->n', b, b)[pairs[:, 1]]
  distances = np.sqrt(squared, dtype=np.float64)
  near = np.flatnonzero(squared < _NEAR * norms)
  size = _chunk(a.shape[1])
  for rows in np.split(near, range(size, len(near), size)):
    gap = a[pairs[rows, 0]] - b[pairs[rows, 1]]
    distances[rows] = _norm(gap)
  return distances


def _norm(gap: np.ndarray) -> np.ndarray:
  """[P] length of each row."""
  return np.sqrt(np.einsum('pd,pd->p', gap, gap, dtype=np.float64))


def _chunk(num_params: int) -> int:
  """Networks whose weights fit in `_MEMORY`."""
  return max(1, _MEMORY // (4 * num_params))


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
  """[A, B] bool: the k smallest of every row."""
  mask = np.zeros(values.shape, bool)
  if k:
    columns = np.argsort(values, axis=1)[:, :k]
    np.put_along_axis(mask, columns, True, axis=1)
  return mask


def _take(g: element.GroupElement, rows: np.ndarray) -> element.GroupElement:
  """Some of many elements."""
  return element.GroupElement(
    *(
      {id: np.asarray(x)[rows] for id, x in table.items()}
      for table in (g.perms, g.scales, g.turns)
    )
  )


def metrics(
  distances: np.ndarray,
  bar: gate.Bar,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Novelty and copies of an arm.

  Args:
    distances: [N] to the nearest training network, NaN where there is none.
    bar: thresholds of the zoo.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report; novelty in units of tau.
  """
  return {
    'novelty': statistics.over_nets(
      distances / bar.tau, groups, resampler, window=None
    ),
    'copy_rate': statistics.rate(gate.copy(distances, bar)),
  }
