"""Basins: does a bump of the loss lie between samples and training networks?

Two runs that never met have a high barrier between them as they stand, and a
low one once units are matched. Without a barrier as they stand, one is most
likely derived from the other.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluate import arms, connectivity, predictions, statistics
from wsjax.evaluate import context as context_lib


def barriers(
  params: typing.StackedParams,
  items: predictions.Items,
  context: context_lib.Context,
) -> dict[str, np.ndarray]:
  """Loss barriers around N networks.

  Args:
    params: path -> [N, ...] finite weights.
    items: test items that the loss is measured on.
    context: the zoo.

  Returns:
    [N] nats: 'train_raw', to the nearest training network as both stand;
    'train', the same after matching; 'self', to the next network of the set
    after matching, NaN of a single one.
  """
  nearest = context.neighbours.nearest(params)[1]
  near = arms.take(context.train, nearest)
  count = len(nearest)
  following = arms.take(params, np.roll(np.arange(count), -1))

  def height(a: typing.StackedParams, b: typing.StackedParams) -> np.ndarray:
    path = connectivity.path_losses(context.architecture, a, b, items)
    return connectivity.loss_barrier(path)

  others = np.full(count, np.nan)
  if count > 1:
    others = height(*connectivity.matched(params, following, context))
  return {
    'train_raw': height(params, near),
    'train': height(*connectivity.matched(params, near, context)),
    'self': others,
  }


def metrics(
  found: dict[str, np.ndarray],
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Mean barriers of an arm.

  Args:
    found: [N] each, from `barriers`.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report, 'barrier_' before each name.

  Source: Frankle et al. 2020, arXiv:1912.05671 (the line); Entezari et al.
    2022, arXiv:2110.06296 (after permutations).
  """
  return {
    f'barrier_{key}': statistics.over_nets(value, groups, resampler)
    for key, value in found.items()
  }
