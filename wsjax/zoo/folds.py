"""Folds of a cross-validation, for zoos too small for fixed splits.

Networks of a group are all held out at once, and networks that are nearly equal are of one group.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse.csgraph
from sklearn import model_selection

from wsjax import typing

# Distance over root of the summed squares of both: 1 for independent networks of mean 0. Snapshots
# of one run and noisy copies are far below.
NEAR = 0.3


def assign(labels: np.ndarray, groups: Sequence[str], *, num: int, seed: int) -> np.ndarray:
  """Assigns groups to folds with like shares of every class.

  Args:
    labels: [n] class numbers; floats are grouped by rank.
    groups: [n] names.
    num: of folds.
    seed: of the order of the groups.

  Returns:
    [n] fold in which each network is held out.

  Raises:
    ValueError: if there are fewer than 2 folds, fewer groups, or networks of a class, than folds,
      or a fold comes out empty or trains without a class.
  """
  names, codes = np.unique(np.asarray(groups), return_inverse=True)
  if not 2 <= num <= len(names):
    raise ValueError(f'Folds must number from 2 to the {len(names)} groups; got {num}.')
  labels = np.asarray(labels)
  if labels.dtype.kind == 'f':
    ranks = np.argsort(np.argsort(labels, kind='stable'), kind='stable')
    labels = ranks * min(num, 4) // len(ranks)
  classes, counts = np.unique(labels, return_counts=True)
  if counts.min() < num:
    raise ValueError(
      f'Class {classes[counts.argmin()]} has {counts.min()} networks, fewer than the {num} folds.'
    )
  folds = np.full(len(labels), -1)
  dealer = model_selection.StratifiedGroupKFold(num, shuffle=True, random_state=seed)
  for fold, (_, rows) in enumerate(dealer.split(np.zeros(len(labels)), labels, codes)):
    folds[rows] = fold
  for fold in range(num):
    missing = set(labels.tolist()) - set(labels[folds != fold].tolist())
    if missing or not (folds == fold).any():
      problem = f'trains without class {min(missing)}' if missing else 'is empty'
      raise ValueError(f'{len(names)} groups do not deal into {num} folds: fold {fold} {problem}.')
  return folds


def join(networks: Sequence[typing.Params], groups: Sequence[str]) -> list[str]:
  """Joins the groups [n] of networks [n], of any architectures, that are nearly equal.

  Each is named after the first of its set. A copy with permuted neurons is not noticed.
  """
  names, codes = np.unique(np.asarray(groups), return_inverse=True)
  kinds: dict[tuple, list[int]] = {}
  for row, params in enumerate(networks):
    shapes = tuple((path, params[path].shape) for path in sorted(params))
    kinds.setdefault(shapes, []).append(row)
  pairs = []
  for shapes, rows in kinds.items():
    flat = np.stack(
      [np.concatenate([networks[row][path].ravel() for path, _ in shapes]) for row in rows]
    ).astype(np.float64)
    squares = (flat**2).sum(1)
    both = squares[:, None] + squares
    near = both - 2 * flat @ flat.T <= NEAR**2 * both
    pairs += [(codes[rows[i]], codes[rows[j]]) for i, j in np.argwhere(near)]
  ends = np.array(pairs).T
  graph = scipy.sparse.coo_array((np.ones(len(pairs)), ends), shape=(len(names), len(names)))
  _, parts = scipy.sparse.csgraph.connected_components(graph, directed=False)
  first = [names[np.flatnonzero(parts == part)[0]] for part in range(max(parts) + 1)]
  return [str(first[parts[code]]) for code in codes]
