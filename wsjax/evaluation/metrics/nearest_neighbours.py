"""Neighbourhood: the training networks around each network, moved onto it.

All is done on canonical forms, for samples, held-out and training networks alike. So no result
depends on which member of its orbit a network is, and distances of samples can be ranked among
those of held-out networks. (The `novelty` of the report also looks at the weights as they are: the
least distance is the safest for a single sample, but favours zoos and samples that were written in
the same order.)
"""

import dataclasses
import functools

import jax
import numpy as np
import sklearn.metrics

from wsjax import typing
from wsjax.evaluation import methods
from wsjax.evaluation.metrics import convex_hull
from wsjax.symmetry import canonicalize, element
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

# Neighbours of a network: the nearest; those that lie beyond it as seen from the nearest, for the
# second parent of a blend that is mostly the first can be far; and those that behave most alike,
# for the canonical form of a copy of a deep network can be far from the original's.
NUM_NEAREST, NUM_BEYOND, NUM_SIMILAR = 10, 3, 3
_RESTARTS = 2

# Networks whose distances to the whole zoo are held at once.
_ROWS = 1024
# Networks whose neighbours are moved in one call, and bytes these may need.
_NETS_PER_CALL, _MEMORY = 32, 128 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbourhood:
  """What is around N networks.

  Attributes:
    neighbours: [N, k] which networks of a zoo.
    gram: [N, k, k] inner products of (neighbour, moved onto the network) - network.
    still: [N, k, k] the same without moving. A blend was made of networks that were aligned to
      something, which need not be the blend.
  """

  neighbours: np.ndarray
  gram: np.ndarray
  still: np.ndarray

  @functools.cached_property
  def _squared(self) -> np.ndarray:
    """[N, k] squared quotient distances."""
    return np.maximum(np.diagonal(self.gram, axis1=1, axis2=2), 0)

  @property
  def distance(self) -> np.ndarray:
    """[N] quotient distance to the nearest network of the zoo."""
    return np.sqrt(self._squared.min(axis=1).astype(np.float64))

  @property
  def index(self) -> np.ndarray:
    """[N] which network of the zoo that is."""
    best = self._squared.argmin(axis=1)
    return self.neighbours[np.arange(len(best)), best]

  @property
  def ratio(self) -> np.ndarray:
    """[N] distance to the nearest over that to the next; NaN if there is one.

    1 for a network that is near to none in particular.
    """
    if self._squared.shape[1] < 2:
      return np.full(len(self._squared), np.nan)
    two = np.sqrt(np.partition(self._squared, 1, axis=1)[:, :2].astype(float))
    return two[:, 0] / np.maximum(two[:, 1], 1e-30)

  @functools.cached_property
  def residual(self) -> np.ndarray:
    """[N] the smaller `hull.residual` of neighbours, moved and still."""
    return np.minimum(convex_hull.residual(self.gram), convex_hull.residual(self.still))


def search(
  nets: typing.StackedParams,
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  similarity: np.ndarray,
  *,
  exclude_same_index: bool = False,
  counts: tuple[int, int, int] = (NUM_NEAREST, NUM_BEYOND, NUM_SIMILAR),
  seed: int = 0,
) -> Neighbourhood:
  """Finds the neighbours of each network and matches them to it.

  Args:
    nets: path -> [N, ...] canonical forms with finite weights.
    zoo: path -> [M, ...] canonical forms to find neighbours among.
    spec: their symmetry.
    similarity: [N, M] likeness of behaviour, such as the error-IoU.
    exclude_same_index: whether network i is number i of the zoo, which it is then not compared
      with.
    counts: neighbours that are nearest, beyond, and alike in behaviour.
    seed: of the matching.

  Returns:
    The neighbourhood, of fewer neighbours if the zoo has fewer.

  Raises:
    ValueError: if nothing is left to be a neighbour.
  """
  vectors, mine = methods.flatten(zoo), methods.flatten(nets)
  if len(vectors) <= exclude_same_index:
    raise ValueError(
      f'No network is left to be a neighbour: the zoo has {len(vectors)}, '
      f'exclude_same_index={exclude_same_index}.'
    )
  blocks = []
  for start in range(0, len(mine), _ROWS):
    rows = np.arange(start, min(start + _ROWS, len(mine)))
    free = np.ones((len(rows), len(vectors)), bool)
    if exclude_same_index:
      free[np.arange(len(rows)), rows] = False
    blocks.append(_choose(mine[rows], vectors, similarity[rows], free, counts))
  neighbours = np.concatenate(blocks)
  return Neighbourhood(neighbours, *_products(nets, zoo, neighbours, spec, seed))


def _choose(
  mine: np.ndarray,
  vectors: np.ndarray,
  similarity: np.ndarray,
  free: np.ndarray,
  counts: tuple[int, int, int],
) -> np.ndarray:
  """Neighbours [n, k] of vectors [n, d] among [M, d] where `free` [n, M]."""
  distance = _distances(mine, vectors)
  nearest = np.where(free, distance, np.inf).argmin(axis=1)
  chosen = []
  for count, score in zip(
    counts,
    (lambda: -distance, lambda: _beyond(distance, nearest, vectors), lambda: similarity),
    strict=True,
  ):
    count = min(count, free[0].sum())
    if count:
      values = np.where(free, -score(), np.inf)
      order = np.argpartition(values, count - 1, axis=1)[:, :count]
      np.put_along_axis(free, order, False, axis=1)
      chosen.append(order)
  return np.concatenate(chosen, axis=1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A, B] Euclidean distances of vectors."""
  return sklearn.metrics.pairwise.euclidean_distances(a, b)


def _beyond(distance: np.ndarray, nearest: np.ndarray, vectors: np.ndarray) -> np.ndarray:
  """How far along the way from the nearest network each network lies.

  Args:
    distance: [N, M] of networks to those of the zoo.
    nearest: [N] which of the zoo is nearest.
    vectors: [M, d] the zoo.

  Returns:
    [N, M] cosine at the nearest network between the two ways, times the distance to it, by the law
    of cosines.
  """
  length = _distances(vectors[nearest], vectors)
  rows = np.arange(len(nearest))
  way = distance[rows, nearest][:, None] ** 2
  inner = (way + length**2 - distance**2) / 2
  return inner / np.maximum(length, 1e-6)


def _products(
  nets: typing.StackedParams,
  zoo: typing.StackedParams,
  chosen: np.ndarray,
  spec: spec_lib.Spec,
  seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """`gram` and `still` of the neighbourhood."""
  count, k = chosen.shape
  pairs = np.stack([np.repeat(np.arange(count), k), chosen.ravel()], axis=1)
  g = element.identity(spec)
  if spec.groups:
    g, _ = weight_matching.best_of(
      nets,
      zoo,
      pairs,
      spec,
      restarts=_RESTARTS,
      seed=seed,
      solver='auto',
      from_identity=True,
      identity=False,
    )
  size = max(1, min(_NETS_PER_CALL, _MEMORY // (8 * k * spec.num_params)))
  parts = []
  for start in range(0, count, size):
    # The last call is filled up, so that one size is compiled.
    rows = np.resize(np.arange(start, min(start + size, count)), size)
    at = (rows[:, None] * k + np.arange(k)[None]).ravel()
    still = {path: np.asarray(v)[pairs[at, 1]] for path, v in zoo.items()}
    moved = canonicalize.apply_all(
      jax.tree.map(lambda table, at=at: np.asarray(table)[at], g), still, spec
    )
    here = methods.flatten(methods.take(nets, rows))[:, None]
    gaps = [methods.flatten(x).reshape(size, k, -1) - here for x in (moved, still)]
    parts.append([gap @ np.swapaxes(gap, 1, 2) for gap in gaps])
  gram, still = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
  return gram, still
