"""Membership: does a likelihood tell training networks from held-out ones?"""

from typing import Any

import numpy as np

from wsjax.evaluation import statistics


def auc(
  members: np.ndarray, others: np.ndarray, *, num_bootstrap: int, seed: int
) -> dict[str, Any]:
  """Chance that a training network has the higher likelihood: the area under the ROC curve.

  A density that has memorized gives training networks more; one that learned the distribution has
  0.5.

  Args:
    members: [N] log-densities of training networks.
    others: [M] log-densities of networks that were not trained on.
    num_bootstrap: resamples of both sets behind the interval.
    seed: of them.

  Raises:
    ValueError: if either set is empty or has a NaN; minus infinity is a density of 0.

  Source: Mann and Whitney 1947, doi:10.1214/aoms/1177730491.
  """
  members, others = (np.asarray(x, np.float64) for x in (members, others))
  if not (members.size and others.size):
    raise ValueError(
      f'Membership needs networks of both kinds; got {members.size} and {others.size}.'
    )
  if np.isnan(members).any() or np.isnan(others).any():
    raise ValueError('A log-density is not a number.')
  # Not by their difference: two that are infinite are equal.
  a, b = members[:, None], others[None]
  wins = (a > b) + np.float32(0.5) * (a == b)
  resampler = statistics.Resampler(num_bootstrap=num_bootstrap, seed=seed)
  drawn = [resampler.networks(np.zeros(x.size, int)) for x in (members, others)]
  resamples = np.einsum('bm,bm->b', drawn[0] @ wins, drawn[1])
  value = float(np.mean(wins, dtype=np.float64))
  entry = statistics.stat(value, resamples, n=min(wins.shape), method='bootstrap-nets')
  return entry | {'n': members.size + others.size}
