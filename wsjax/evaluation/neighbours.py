"""Neighbourhoods: the training networks around each network, matched to it.

Everything is computed on canonical forms, so that no result depends on which member of its orbit a
network is, and samples can be ranked among held-out networks. The `novelty` of a report also looks
at the weights as they are: the least distance is the safest for one sample, but favours zoos and
samples that were written in one order.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import pairwise

from wsjax import networks, typing
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

MAX_DIMS = 64

# Training networks per component. With as many components as networks, each would be one network's
# own, which no other network can have.
_NETS_PER_DIM = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
  """The affine map onto f components.

  Attributes:
    mean: [d] of the training vectors.
    axes: [d, f] orthonormal columns, the component of most variance first.
  """

  mean: np.ndarray
  axes: np.ndarray

  def __call__(self, vectors: np.ndarray) -> np.ndarray:
    """[N, f] float64 coordinates of vectors [N, d]."""
    centred = (vectors - self.mean[None]).astype(np.float32)
    return (centred @ self.axes).astype(np.float64)


def fit(vectors: np.ndarray) -> Projection:
  """The projection of training vectors [N, d] onto their components of any variance.

  There are at most min(64, N / 8) of them, or 2 of few networks.
  """
  mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
  centred = (vectors - mean[None]).astype(np.float32)
  dims = min(MAX_DIMS, max(len(vectors) // _NETS_PER_DIM, 2))
  values, rows = leading(centred, dims)
  some = values > 1e-6 * max(values.max(), 1e-12)
  deviations = np.sqrt(values[some]).astype(np.float32)
  return Projection(mean, rows[some].T / deviations[None])


def leading(centred: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """The leading principal components of centred X [N, d] = U S V', float32.

  Returns:
    [f] float64, the squares of S, largest first; [f, d] float32, the rows of S V'. f is `count`, or
    less if N or d is.
  """
  few_nets = len(centred) <= centred.shape[1]
  products = centred @ centred.T if few_nets else centred.T @ centred
  values, vectors = np.linalg.eigh(products.astype(np.float64))
  values, vectors = values[::-1][:count], vectors.T[::-1][:count]
  if few_nets:
    return values, vectors.astype(np.float32) @ centred
  deviations = np.sqrt(np.maximum(values, 0))
  return values, (deviations[:, None] * vectors).astype(np.float32)


# Neighbours of a network: the nearest; those on its far side as seen from the nearest, since the
# second parent of a blend that is mostly the first can be far; and those most similar in function,
# since the canonical form of a copy of a deep network can be far from that of the original.
NUM_NEAREST, NUM_BEYOND, NUM_SIMILAR = 10, 3, 3
_RESTARTS = 2
Counts = tuple[int, int, int]

# Networks whose distances to the whole zoo are held at once.
_ROWS = 1024
# Networks whose neighbours are moved in one call, and bytes these may need.
_NETWORKS_PER_CALL, _MEMORY = 32, 128 << 20
_HULL_STEPS = 300
_HULLS_PER_CALL = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbourhood:
  """Training networks around N networks.

  Attributes:
    neighbours: [N, k] which networks of a zoo.
    gram: [N, k, k] inner products of the differences neighbour - network, neighbours matched to the
      network.
    still: [N, k, k] inner products without matching: a blend was made of networks that were aligned
      to something, which need not be the blend.
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
    """[N] distance to the nearest over that to the next; NaN if there is one. 1: near to none."""
    if self._squared.shape[1] < 2:
      return np.full(len(self._squared), np.nan)
    two = np.sqrt(np.partition(self._squared, 1, axis=1)[:, :2].astype(float))
    return two[:, 0] / np.maximum(two[:, 1], 1e-30)

  @functools.cached_property
  def residual(self) -> np.ndarray:
    """[N] the smaller `hull_residual` of neighbours, moved and still."""
    return np.minimum(hull_residual(self.gram), hull_residual(self.still))


def search(
  params: typing.StackedParams,
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  similarity: np.ndarray,
  *,
  excluded: np.ndarray | None = None,
  counts: Counts = (NUM_NEAREST, NUM_BEYOND, NUM_SIMILAR),
  seed: int = 0,
) -> Neighbourhood:
  """Finds the neighbours of each network and matches them to it.

  Args:
    params: path -> [N, ...] canonical forms with finite weights.
    zoo: path -> [M, ...] canonical forms to find neighbours among.
    spec: their symmetry.
    similarity: [N, M] similarity in function, such as the error-IoU.
    excluded: [N] number of each network in the zoo, with which it is then not compared.
    counts: neighbours that are nearest, on the far side, and similar in function; fewer if the zoo
      has.
    seed: of the matching.

  Raises:
    ValueError: if nothing is left to be a neighbour.
  """
  vectors, mine = networks.flatten(zoo), networks.flatten(params)
  if len(vectors) <= (excluded is not None):
    raise ValueError(f'No network is left to be a neighbour: the zoo has {len(vectors)}.')
  blocks = []
  for start in range(0, len(mine), _ROWS):
    rows = np.arange(start, min(start + _ROWS, len(mine)))
    free = np.ones((len(rows), len(vectors)), bool)
    if excluded is not None:
      free[np.arange(len(rows)), excluded[rows]] = False
    blocks.append(_choose(mine[rows], vectors, similarity[rows], free, counts))
  neighbours = np.concatenate(blocks)
  return Neighbourhood(neighbours, *_products(params, zoo, neighbours, spec, seed))


def _choose(
  mine: np.ndarray, vectors: np.ndarray, similarity: np.ndarray, free: np.ndarray, counts: Counts
) -> np.ndarray:
  """Neighbours [n, k] of vectors [n, d] among [M, d] where `free` [n, M]."""
  distance = pairwise.euclidean_distances(mine, vectors)
  nearest = np.where(free, distance, np.inf).argmin(axis=1)
  chosen = []
  scores = (lambda: -distance, lambda: _beyond(distance, nearest, vectors), lambda: similarity)
  for count, score in zip(counts, scores, strict=True):
    count = min(count, free[0].sum())
    if count:
      values = np.where(free, -score(), np.inf)
      order = np.argpartition(values, count - 1, axis=1)[:, :count]
      np.put_along_axis(free, order, False, axis=1)
      chosen.append(order)
  return np.concatenate(chosen, axis=1)


def _beyond(distance: np.ndarray, nearest: np.ndarray, vectors: np.ndarray) -> np.ndarray:
  """[N, M] how far along the way from the nearest network, `nearest` [N], each network lies.

  It is the cosine at the nearest network between the two ways, by the law of cosines, times its
  distance.
  """
  length = pairwise.euclidean_distances(vectors[nearest], vectors)
  rows = np.arange(len(nearest))
  way = distance[rows, nearest][:, None] ** 2
  inner = (way + length**2 - distance**2) / 2
  return inner / np.maximum(length, 1e-6)


def _products(
  params: typing.StackedParams,
  zoo: typing.StackedParams,
  chosen: np.ndarray,
  spec: spec_lib.Spec,
  seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """`gram` and `still` of the neighbourhood."""
  count, k = chosen.shape
  pairs = np.stack([np.repeat(np.arange(count), k), chosen.ravel()], axis=1)
  g = spec.identity()
  if spec.groups:
    g, _ = weight_matching.match_pairs(
      params, zoo, pairs, spec, restarts=_RESTARTS, seed=seed, from_identity=True, identity=False
    )
  size = max(1, min(_NETWORKS_PER_CALL, _MEMORY // (8 * k * spec.num_params)))
  parts = []
  for start in range(0, count, size):
    # The last call is filled up, so that one size is compiled.
    rows = np.resize(np.arange(start, min(start + size, count)), size)
    at = (rows[:, None] * k + np.arange(k)[None]).ravel()
    still = {path: np.asarray(v)[pairs[at, 1]] for path, v in zoo.items()}
    moved = canonicalize.apply_all(
      jax.tree.map(lambda table, at=at: np.asarray(table)[at], g), still, spec
    )
    here = networks.flatten(networks.take(params, rows))[:, None]
    gaps = [networks.flatten(x).reshape(size, k, -1) - here for x in (moved, still)]
    parts.append([gap @ np.swapaxes(gap, 1, 2) for gap in gaps])
  gram, still = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
  return gram, still


def simplex(values: jax.Array) -> jax.Array:
  """The nearest point [k] with entries >= 0 of sum 1.

  Source: Duchi et al. 2008, doi:10.1145/1390156.1390191, figure 1.
  """
  falling = jnp.sort(values)[::-1]
  count = jnp.arange(1, len(values) + 1)
  excess = (jnp.cumsum(falling) - 1) / count
  last = jnp.sum(falling > excess) - 1
  return jnp.maximum(values - excess[last], 0)


def project(gram: typing.Array) -> jax.Array:
  """Weights [k] of the point nearest to the origin of a hull, from products [k, k] of corners.

  Source: Beck and Teboulle 2009, doi:10.1137/080716542; O'Donoghue and Candes 2015, arXiv:1204.3982
    (restart where it turns back).
  """
  step = 1 / jnp.maximum(jnp.linalg.norm(gram), 1e-30)
  start = jnp.full(len(gram), 1 / len(gram))

  def body(carry: tuple, _: None) -> tuple[tuple, None]:
    weights, ahead, speed = carry
    new = simplex(ahead - step * gram @ ahead)
    back = jnp.dot(ahead - new, new - weights) > 0
    speed = jnp.where(back, 1.0, speed)
    faster = (1 + jnp.sqrt(1 + 4 * speed**2)) / 2
    momentum = jnp.where(back, 0.0, (speed - 1) / faster)
    return (new, new + momentum * (new - weights), faster), None

  carry, _ = jax.lax.scan(body, (start, start, jnp.float32(1)), None, length=_HULL_STEPS)
  return carry[0]


def hull_residual(gram: typing.Array) -> np.ndarray:
  """Distance to the convex hull of the neighbours over that to the nearest of them, [N] in [0, 1].

  It is 0 for a blend of neighbours, which is far from each of them, and 1 for a copy with noise, to
  which no blend is nearer than the nearest neighbour.

  Args:
    gram: [N, k, k] inner products of (neighbour - network), for each network.
  """
  gram = np.asarray(gram, np.float32)
  if not len(gram):
    return np.zeros(0)
  nearest = np.diagonal(gram, axis1=1, axis2=2).min(axis=1)
  # Of a copy only rounding errors are left.
  copies = nearest <= 1e-12 * np.max(gram, axis=(1, 2))
  scale = np.where(copies, 1, nearest)[:, None, None]
  gram = gram / scale
  least = networks.in_chunks(_least, gram, _HULLS_PER_CALL)
  left = np.minimum(np.sqrt(np.maximum(least, 0)), 1)
  return np.where(copies, 1.0, left).astype(np.float64)


@jax.jit
def _least(gram: jax.Array) -> jax.Array:
  def one(products: jax.Array) -> jax.Array:
    weights = project(products)
    return weights @ products @ weights

  return jax.vmap(one)(gram)
