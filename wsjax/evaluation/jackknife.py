"""Intervals of numbers that compare two sets as wholes.

A bootstrap draws a network twice, and a network is its own nearest neighbour then. The jackknife
only leaves networks out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats

from wsjax.evaluation import statistics

NUM_BLOCKS = 20


def interval(
  statistic: Callable[[np.ndarray, np.ndarray], float],
  samples: np.ndarray,
  real: np.ndarray,
  *,
  bounds: tuple[float, float] = (-np.inf, np.inf),
  num_blocks: int = NUM_BLOCKS,
) -> dict[str, Any]:
  """Mean over training seeds of a statistic of two sets, with its interval.

  Both sets are cut into blocks; each is left out of the samples of all seeds and of the real set at
  once. What training seeds differ by is added, although part of that is the choice of samples
  again: the interval is rather too wide.

  Args:
    statistic: (samples [m, f], real [m, f]) -> number; where its mean depends on m, as that of a
      maximum does, compare arms of the same m only.
    samples: [S, n, f] of S training seeds.
    real: [n, f] what they are compared with.
    bounds: of the statistic; no interval goes beyond.
    num_blocks: blocks, if there are as many samples.

  Returns:
    The entry of the report, with 'per_seed', the value of each.

  Source: Kott 2001, J. Off. Stat. 17:521 (delete-a-group jackknife).
  """
  num_seeds, n = samples.shape[:2]
  num_blocks = min(num_blocks, n)
  block = np.arange(n) * num_blocks // n

  def value(keep: np.ndarray) -> list[float]:
    return [statistic(each[keep], real[keep]) for each in samples]

  per_seed = value(np.ones(n, bool))
  without = [np.mean(value(block != number)) for number in range(num_blocks)]
  variance = (num_blocks - 1) * np.var(without)
  if num_seeds > 1:
    variance += np.var(per_seed, ddof=1) / num_seeds
  half = scipy.stats.t.ppf((1 + statistics.LEVEL) / 2, num_blocks - 1)
  half = float(half * np.sqrt(variance))
  mean = float(np.mean(per_seed))
  return {
    'value': mean,
    'low': max(mean - half, bounds[0]),
    'high': min(mean + half, bounds[1]),
    'n': num_seeds * n,
    'method': 'jackknife' + ('-seeds' if num_seeds > 1 else ''),
    'per_seed': [float(each) for each in per_seed],
  }
