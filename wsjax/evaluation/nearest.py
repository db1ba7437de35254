"""Search for the training network that is nearest to each network, up to symmetry."""

import dataclasses
import functools

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods
from wsjax.symmetry import canonicalize, pair_distance
from wsjax.symmetry import spec as spec_lib

# Samples whose distances to all training networks are held at once.
_ROWS = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
  """Finds the training network nearest to each network, up to symmetry.

  The distance of a pair is that of `pair_distance`, with all starts. Only candidates are matched
  pair by pair: the nearest training networks without matching, and those most similar in
  function. The distance found is an upper bound; tau is found by the same search.

  Attributes:
    train: path -> [B, ...] training networks.
    spec: their symmetry.
    reference: weights of the network that all are aligned to.
    restarts: starts of every matching.
    seed: of the starts.
    num_nearest: candidates by distance before pairwise matching.
    num_similar: candidates by similarity in function.
  """

  train: typing.StackedParams
  spec: spec_lib.Spec
  reference: typing.Params
  restarts: int = 3
  seed: int = 0
  num_nearest: int = 8
  num_similar: int = 4

  @functools.cached_property
  def train_forms(self) -> tuple[typing.StackedParams, ...]:
    """`forms` of the training networks."""
    return self.forms(self.train)

  def forms(self, params: typing.StackedParams) -> tuple[typing.StackedParams, ...]:
    """Finite weights as they are, balanced, and aligned to the reference."""
    return tuple(
      form(params)
      for form in (
        lambda nets: methods.take(nets, slice(None)),
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
      similarity: [A, B] similarity in function, such as the error-IoU; None if it is not known.
      exclude_same_index: whether sample i is training network i, which it is then not compared
        with.

    Returns:
      [A] distance, NaN for a sample whose weights are not finite; [A] index,
      -1 for it.

    Raises:
      ValueError: if training networks have weights that are not finite, or none is left to be
        nearest.
    """
    usable = methods.usable(params)
    broken = np.sum(~methods.usable(self.train))
    if broken:
      raise ValueError(f'{broken} training networks have no finite weights.')
    distance = np.full(len(usable), np.nan)
    index = np.full(len(usable), -1)
    rows = np.flatnonzero(usable)
    if len(rows):
      distance[rows], index[rows] = self._nearest(
        methods.take(params, rows),
        None if similarity is None else similarity[rows],
        rows if exclude_same_index else None,
      )
    return distance, index

  def _nearest(
    self, params: typing.StackedParams, similarity: np.ndarray | None, excluded: np.ndarray | None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Nearest networks of usable samples; `excluded` is one index per sample."""
    forms = [methods.flatten(form) for form in self.forms(params)]
    shown = [methods.flatten(form) for form in self.train_forms]
    pairs = []
    for start in range(0, len(forms[0]), _ROWS):
      rows = np.arange(start, min(start + _ROWS, len(forms[0])))
      estimate = _squared(forms[0][rows], shown[0])
      for a, b in zip(forms[1:], shown[1:], strict=True):
        estimate = np.minimum(estimate, _squared(a[rows], b))
      banned = np.zeros(estimate.shape, bool)
      if excluded is not None:
        banned[np.arange(len(rows)), excluded[rows]] = True
      if banned.all(axis=1).any():
        raise ValueError('No training network is left to be nearest.')
      chosen = _smallest(np.where(banned, np.inf, estimate), self.num_nearest)
      if similarity is not None:
        likeness = np.where(banned, np.inf, -similarity[rows])
        chosen |= _smallest(likeness, self.num_similar)
      pairs.append(np.argwhere(chosen & ~banned) + [start, 0])
    pairs = np.concatenate(pairs)
    squared = pair_distance.squared(
      params,
      self.train,
      pairs,
      self.spec,
      reference=self.reference,
      restarts=self.restarts,
      seed=self.seed,
    )
    # Of each sample the nearest, and of several the first.
    order = np.lexsort((pairs[:, 1], squared, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    best = order[first]
    return np.sqrt(squared[best]), pairs[best, 1]


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A, B] squared distances by inner products, good enough to choose by."""
  norms = [np.einsum('nd,nd->n', x, x) for x in (a, b)]
  squared = norms[0][:, None] + norms[1][None] - 2 * (a @ b.T)
  return np.maximum(squared, 0)


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
  """[A, B] bool: the k smallest of every row."""
  if k >= values.shape[1]:
    return np.ones(values.shape, bool)
  mask = np.zeros(values.shape, bool)
  if k:
    columns = np.argpartition(values, k - 1, axis=1)[:, :k]
    np.put_along_axis(mask, columns, True, axis=1)
  return mask
