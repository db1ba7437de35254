"""Membership: does a likelihood tell training networks from held-out ones?

A density that has learned the distribution and not the examples gives both the
same; one that has memorized gives the training networks more.
"""

from typing import Any

import numpy as np
import scipy.stats

from wsjax.evaluate import statistics


def auc(
  members: np.ndarray, others: np.ndarray, *, num_bootstrap: int, seed: int
) -> dict[str, Any]:
  """Chance that a training network has the higher likelihood.

  Args:
    members: [N] log-densities of training networks.
    others: [M] the same of networks that were not trained on.
    num_bootstrap: resamples of both sets behind the interval.
    seed: of them.

  Returns:
    Entry of the report: area under the ROC curve, 0.5 for chance.

  Raises:
    ValueError: if either set is empty or has a NaN; minus infinity is a
      density of 0 and ranks lowest.
  """
  members, others = (np.asarray(x, np.float64) for x in (members, others))
  if not (members.size and others.size):
    raise ValueError(
      f'Membership needs networks of both kinds; got {members.size} and '
      f'{others.size}.'
    )
  if np.isnan(members).any() or np.isnan(others).any():
    raise ValueError('A log-density is not a number.')
  rng = np.random.default_rng(seed)
  resamples = np.array(
    [
      _area(rng.choice(members, members.size), rng.choice(others, others.size))
      for _ in range(num_bootstrap)
    ]
  )
  return statistics.stat(
    _area(members, others),
    resamples,
    n=members.size + others.size,
    method='bootstrap over networks',
  )


def _area(members: np.ndarray, others: np.ndarray) -> float:
  """Mann-Whitney U over the number of pairs; ties count half."""
  ranks = scipy.stats.rankdata(np.concatenate([members, others]))
  n, m = len(members), len(others)
  return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
