"""Replicas: are the samples nearer to the zoo than further runs are?

Everything here compares distances to the training networks: r of samples and h of held-out
networks, which show how near one comes without having looked.
"""

from typing import Any

import numpy as np
import scipy.stats

from wsjax.evaluation import statistics

QUANTILE = 0.01

# Held-out networks below which the quantile rests on fewer than three of them.
ENOUGH = 300

NUM_PERMUTATIONS = 1000


def threshold(h: np.ndarray) -> float:
  """1 % quantile of the distances [M] of held-out networks."""
  return float(np.quantile(h, QUANTILE))


def rate(r: np.ndarray, h: np.ndarray) -> dict[str, Any]:
  """Share of samples nearer to the zoo than 99 % of held-out networks are.

  Args:
    r: [N] distances of samples to the nearest training network.
    h: [M] the same of held-out networks.

  Returns:
    The entry of the report. `heldout` is what an honest generator is expected to have: of M
    held-out networks the quantile lies above 1 + 0.01 (M - 1) of M + 1 equal shares. `note` says
    where that is far from 1 %.
  """
  honest = (1 + QUANTILE * (len(h) - 1)) / (len(h) + 1)
  entry = statistics.rate(r < threshold(h)) | {'heldout': honest}
  if len(h) < ENOUGH:
    entry['note'] = (
      f'the 1 % quantile of {len(h)} held-out networks is unstable (below '
      f'{ENOUGH}): an honest generator has about {honest:.1%}, give or take '
      'as much'
    )
  return entry


def copying(rng: np.random.Generator, r: np.ndarray, h: np.ndarray) -> tuple[float, float]:
  """The data-copying test: are samples nearer than held-out networks are?

  Args:
    rng: source of the permutations.
    r: [N] distances of samples to the nearest training network.
    h: [M] the same of held-out networks.

  Returns:
    z of the Mann-Whitney statistic, ties at half: below 0 where samples are nearer (copying), above
    0 where they are farther (underfitting); and the probability of one at most as large by chance,
    from 1000 permutations. Of few copies among many samples it knows little: `rate` is for those.

  Source: Meehan et al. 2020, arXiv:2004.05675, section 3.1 (Z_U), with one cell for all.
  """
  n, m = len(r), len(h)
  ranks = scipy.stats.rankdata(np.concatenate([r, h]))
  centre = n * (n + m + 1) / 2
  # The variance of ranks that are drawn without replacement; with ties less.
  variance = n * m / (n + m - 1) * np.var(ranks)
  total = ranks[:n].sum()
  order = np.argsort(rng.random((NUM_PERMUTATIONS, n + m)), axis=1)[:, :n]
  as_small = ranks[order].sum(axis=1) <= total
  z = (total - centre) / np.sqrt(variance) if variance > 0 else 0.0
  return float(z), float((1 + as_small.sum()) / (1 + NUM_PERMUTATIONS))


def authentic(distance: np.ndarray, index: np.ndarray, train_distance: np.ndarray) -> np.ndarray:
  """Whether a network is farther from a training network than others are.

  That is the nearest training network, and the others are the rest of them.

  Args:
    distance: [N] to the nearest training network.
    index: [N] which one that is.
    train_distance: [T] of each training network to the nearest other one.

  Returns:
    [N] bool; about half of honest samples are, not all.

  Source: Alaa et al. 2022, arXiv:2102.08921, section 3.3.
  """
  return distance > train_distance[index]
