"""Is one arm better than another, and how sure is that?

Intervals of two arms that overlap say little: the arms share test items, and
generators share seeds and a zoo. Here both are resampled together.
"""

from typing import Any

import numpy as np

from wsjax.evaluate import statistics


def paired(
  table_a: np.ndarray,
  table_b: np.ndarray,
  groups_a: np.ndarray,
  groups_b: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Mean of one arm minus mean of another, on common seeds and items.

  Args:
    table_a: [N, n] networks x items of the one, correct or losses.
    table_b: [M, n] of the other, on the same items.
    groups_a: [N] which seed made each network.
    groups_b: [M] the same of the other; as many seeds, in the same order.
    resampler: source of the resamples, with num_items n.

  Returns:
    The entry of the report, with 'p': two-sided, the share of resamples on the
    other side of 0, for `statistics.holm`. No smaller than 2 / (B + 1).

  Raises:
    ValueError: if items or seeds of the two differ.
  """
  seeds_a, seeds_b = np.unique(groups_a), np.unique(groups_b)
  if np.shape(table_a)[1:] != np.shape(table_b)[1:] or not np.array_equal(
    seeds_a, seeds_b
  ):
    raise ValueError(
      'A paired difference needs the same items and seeds; got tables '
      f'{np.shape(table_a)} and {np.shape(table_b)}, seeds {seeds_a.tolist()} '
      f'and {seeds_b.tolist()}.'
    )
  # One Resampler draws the same seeds and items for both; with equally many
  # networks also the same places, which pairs arms made from common noise.
  per_item, value = 0.0, 0.0
  for sign, table, groups in ((1, table_a, groups_a), (-1, table_b, groups_b)):
    table = np.asarray(table, np.float32)
    per_item = per_item + sign * (resampler.nets(groups) @ table)
    value += sign * float(np.mean(table, dtype=np.float64))
  resamples = np.einsum('bi,bi->b', per_item, resampler.items)
  entry = statistics.stat(
    value,
    resamples,
    n=min(len(table_a), len(table_b)),
    method=statistics.net_method('two-way', groups_a),
  )
  tail = min(np.sum(resamples <= 0), np.sum(resamples >= 0)) + 1
  return entry | {'p': float(min(1, 2 * tail / (len(resamples) + 1)))}


def probability_of_improvement(
  a: np.ndarray,
  b: np.ndarray,
  groups_a: np.ndarray,
  groups_b: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Chance that a network of one arm is better than one of another.

  Args:
    a: [N] a number per network, higher is better.
    b: [M] the same of the other arm.
    groups_a: [N] which seed made each network.
    groups_b: [M] the same of the other arm.
    resampler: source of the resamples.

  Returns:
    The entry of the report: P(a > b) + P(a = b) / 2, 0.5 for equal arms.

  Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3, with the
    statistic of Mann and Whitney 1947, doi:10.1214/aoms/1177730491.
  """
  a, b = np.asarray(a), np.asarray(b)
  # Not by their difference: two that are infinite are equal.
  a, b = a[:, None], b[None]
  wins = (a > b) + np.float32(0.5) * (a == b)
  left = resampler.nets(groups_a) @ wins
  resamples = np.einsum('bm,bm->b', left, resampler.nets(groups_b))
  return statistics.stat(
    float(np.mean(wins, dtype=np.float64)),
    resamples,
    n=min(wins.shape),
    method=statistics.net_method('bootstrap', groups_a),
  )
