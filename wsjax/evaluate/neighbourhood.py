"""Neighbourhood: the training networks around each network, moved onto it.

All is done on canonical forms, for samples, held-out and training networks
alike. So no result depends on which member of its orbit a network is, and
distances of samples can be ranked among those of held-out networks. (The
`novelty` of the report also looks at the weights as they are: the least
distance is the safest for a single sample, but favours zoos and samples that
were written in the same order.)
"""

import dataclasses

import jax
import numpy as np
import sklearn.metrics

from wsjax import typing
from wsjax.evaluate import arms, hull
from wsjax.symmetry import canonicalize, element, weight_matching
from wsjax.symmetry import spec as spec_lib

# Neighbours of the blend test, by distance and by likeness of behaviour: of
# deep networks the canonical form of a copy can lie far from the original's.
NUM_NEAREST, NUM_SIMILAR = 12, 4
_RESTARTS = 2

# Networks whose neighbours are moved in one call, and bytes these may need.
_NETS_PER_CALL, _MEMORY = 32, 128 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbourhood:
  """What is around N networks.

  Attributes:
    distance: [N] quotient distance to the nearest network of a zoo.
    index: [N] which one that is.
    residual: [N] `hull.residual` with respect to the neighbours.
  """

  distance: np.ndarray
  index: np.ndarray
  residual: np.ndarray


def search(
  nets: typing.StackedParams,
  zoo: typing.StackedParams,
  spec: spec_lib.PermutationSpec,
  similarity: np.ndarray,
  *,
  exclude_same_index: bool = False,
  num_nearest: int = NUM_NEAREST,
  num_similar: int = NUM_SIMILAR,
  seed: int = 0,
) -> Neighbourhood:
  """Finds the neighbours of each network and matches them to it.

  Args:
    nets: path -> [N, ...] canonical forms with finite weights.
    zoo: path -> [M, ...] canonical forms to find neighbours among.
    spec: their symmetry.
    similarity: [N, M] likeness of behaviour, such as the error-IoU.
    exclude_same_index: whether network i is number i of the zoo, which it is
      then not compared with.
    num_nearest: neighbours by distance of canonical forms.
    num_similar: neighbours by behaviour among the rest.
    seed: of the matching.

  Returns:
    The neighbourhood, of fewer neighbours if the zoo has fewer.

  Raises:
    ValueError: if nothing is left to be a neighbour.
  """
  estimate = sklearn.metrics.pairwise.euclidean_distances(
    arms.flatten(nets), arms.flatten(zoo), squared=True
  )
  left = estimate.shape[1] - exclude_same_index
  if left < 1:
    raise ValueError(
      f'No network is left to be a neighbour: the zoo has {len(estimate[0])}, '
      f'exclude_same_index={exclude_same_index}.'
    )
  banned = np.zeros(estimate.shape, bool)
  if exclude_same_index:
    np.fill_diagonal(banned, True)
  near = np.argsort(np.where(banned, np.inf, estimate), axis=1)
  near = near[:, : min(num_nearest, left)]
  np.put_along_axis(banned, near, True, axis=1)
  alike = np.argsort(np.where(banned, np.inf, -similarity), axis=1)
  alike = alike[:, : min(num_similar, left - near.shape[1])]
  chosen = np.concatenate([near, alike], axis=1)
  gram = _gram(nets, zoo, chosen, spec, seed)
  squared = np.maximum(np.diagonal(gram, axis1=1, axis2=2), 0)
  best = np.argmin(squared, axis=1)
  rows = np.arange(len(best))
  return Neighbourhood(
    distance=np.sqrt(squared[rows, best].astype(np.float64)),
    index=chosen[rows, best],
    residual=hull.residual(gram),
  )


def _gram(
  nets: typing.StackedParams,
  zoo: typing.StackedParams,
  chosen: np.ndarray,
  spec: spec_lib.PermutationSpec,
  seed: int,
) -> np.ndarray:
  """[N, k, k] products of (neighbour, moved onto the network) - network."""
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
    moved = canonicalize.apply_all(
      jax.tree.map(lambda table: np.asarray(table)[at], g),
      {path: np.asarray(value)[pairs[at, 1]] for path, value in zoo.items()},
      spec,
    )
    gap = arms.flatten(moved).reshape(size, k, -1)
    gap = gap - arms.flatten(arms.take(nets, rows))[:, None]
    parts.append(gap @ np.swapaxes(gap, 1, 2))
  return np.concatenate(parts)[:count]
