"""Basins: does a bump of the loss lie between samples and training networks?

Two runs that never met have a high barrier between them as they stand, and a low one once units are
matched. Without a barrier as they stand, one is most likely derived from the other.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import context as context_lib
from wsjax.evaluation import methods, predictions, statistics
from wsjax.evaluation.metrics import connectivity, memorization


def barriers(
  params: typing.StackedParams,
  items: predictions.Items,
  groups: np.ndarray,
  context: context_lib.Context,
) -> dict[str, np.ndarray]:
  """Loss barriers around N networks.

  Args:
    params: path -> [N, ...] finite weights.
    items: test items that the loss is measured on.
    groups: [N] which seed made each network.
    context: the zoo.

  Returns:
    [N] nats: 'train_raw', to the nearest training network as both stand; 'train', the same after
    matching; 'self', to the next network of the same seed after matching, NaN where there is none.
  """
  errors = context.predict(params).labels != context.test_y[None]
  likeness = memorization.error_iou(errors, context.train_errors)
  nearest = context.neighbours.nearest(params, similarity=likeness)[1]
  near = methods.take(context.train, nearest)
  following = np.arange(len(nearest))
  for group in np.unique(groups):
    members = np.flatnonzero(groups == group)
    following[members] = np.roll(members, -1)
  alone = following == np.arange(len(nearest))

  def height(a: typing.StackedParams, b: typing.StackedParams) -> np.ndarray:
    path = connectivity.path_losses(context.architecture, a, b, items)
    return connectivity.loss_barrier(path)

  others = methods.take(params, following)
  among = height(*connectivity.matched(params, others, context))
  return {
    'train_raw': height(params, near),
    'train': height(*connectivity.matched(params, near, context)),
    'self': np.where(alone, np.nan, among),
  }


def metrics(
  found: dict[str, np.ndarray], groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Mean barriers of an arm.

  Args:
    found: [N] each, from `barriers`.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report, 'barrier_' before each name.

  Source: Frankle et al. 2020, arXiv:1912.05671 (the line); Entezari et al. 2022, arXiv:2110.06296
    (after permutations).
  """
  return {
    f'barrier_{key}': statistics.over_nets(value, groups, resampler) for key, value in found.items()
  }
