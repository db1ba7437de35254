"""Finds networks of a zoo that are copies of each other, or derived from each other."""

import dataclasses

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from scipy.sparse import csgraph

from wsjax import networks
from wsjax.symmetry import distance as distance_lib
from wsjax.zoo.store import store

_PAIRS = 200  # Random pairs behind the typical distance.


@dataclasses.dataclass(frozen=True, eq=False)
class Duplicates:
  """Networks of a zoo and their nearest others, up to symmetry.

  Attributes:
    nearest: [n] index of the network that is nearest to each.
    distance: [n] quotient distance to it.
    norm: [n] norm of each network.
    typical: median quotient distance of random pairs.
  """

  nearest: Int[np.ndarray, ' n']
  distance: Float[np.ndarray, ' n']
  norm: Float[np.ndarray, ' n']
  typical: float

  @property
  def copies(self) -> list[list[int]]:
    """Groups of indices of networks that are one network up to symmetry and rounding."""
    return self._groups('copy')

  @property
  def related(self) -> list[list[int]]:
    """Groups of indices of networks within half of `typical`, copies among them.

    They are checkpoints of one run, fine-tuned networks and noise on them.
    """
    return self._groups('copy', 'related')

  def relation(self, index: int) -> str:
    """Guess of what a network is to its nearest: 'copy', 'related' or 'independent'."""
    if self.distance[index] <= distance_lib.ROUNDING * self.norm[index]:
      return 'copy'
    return 'related' if self.distance[index] < self.typical / 2 else 'independent'

  def _groups(self, *relations: str) -> list[list[int]]:
    """Networks connected by links to their nearest, of some relations; the largest group first."""
    size = len(self.nearest)
    rows = np.array([i for i in range(size) if self.relation(i) in relations], int)
    links = (np.ones(len(rows)), (rows, self.nearest[rows]))
    graph = scipy.sparse.coo_array(links, (size, size))
    _, label = csgraph.connected_components(graph, directed=False)
    groups = [np.flatnonzero(label == value).tolist() for value in np.unique(label)]
    return sorted((group for group in groups if len(group) > 1), key=lambda group: -len(group))


def find(zoo: store.Zoo, *, restarts: int = 3, seed: int = 0) -> Duplicates:
  """Searches a zoo for copies and relatives, up to permutations and scales.

  Args:
    zoo: at least two networks of one model with finite weights.
    restarts: starts of every matching.
    seed: of the starts, and of the random pairs.

  Raises:
    ValueError: if there are fewer than two networks, several models, or weights that are not
      finite.
  """
  if len(zoo) < 2:
    raise ValueError(f'{zoo!r} has fewer than two networks; there is nothing to compare.')
  params, spec = zoo.params(np.arange(len(zoo))), zoo.spec
  nets = networks.Networks(params, spec)
  if not (finite := nets.finite()).all():
    raise ValueError(f'Network {int(np.argmin(finite))} of {zoo!r} is not finite; leave it out.')
  first = nets[0]
  search = distance_lib.Neighbours(params, spec, first, restarts=restarts, seed=seed)
  distance, nearest = search.nearest(params, exclude_same_index=True)
  rng = np.random.default_rng(seed)
  pairs = rng.integers(len(zoo), size=(_PAIRS, 2))
  pairs = pairs[pairs[:, 0] != pairs[:, 1]]
  typical = spec.distance(
    params, params, reference=first, pairs=pairs, restarts=restarts, seed=seed
  )
  norm = np.linalg.norm(nets.flat(), axis=1)
  return Duplicates(nearest, distance, norm, float(np.median(typical)))
