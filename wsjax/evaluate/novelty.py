"""Novelty: how far a sample is from what the generator was shown."""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluate import arms, gate, statistics
from wsjax.symmetry import distance
from wsjax.symmetry import spec as spec_lib


def nearest(
  params: typing.StackedParams,
  train: typing.StackedParams,
  spec: spec_lib.PermutationSpec,
  *,
  reference: typing.Params,
  exclude_same_index: bool = False,
  restarts: int = 3,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Quotient distance to the nearest training network.

  Args:
    params: path -> [A, ...] samples.
    train: path -> [B, ...] training networks.
    spec: symmetry of both.
    reference: what networks are aligned to.
    exclude_same_index: whether sample i is training network i, which it is
      then not compared with.
    restarts: of pairwise matching.
    seed: of the restarts.

  Returns:
    [A] distance, NaN for samples whose weights are not finite; [A] index of
    the nearest training network, -1 for those.
  """
  usable = arms.Arm('samples', 'reference', params).usable
  result = np.full(len(usable), np.nan)
  index = np.full(len(usable), -1)
  if exclude_same_index and not usable.all():
    raise ValueError(
      f'{np.sum(~usable)} training networks have weights that are not finite.'
    )
  if usable.any():
    result[usable], index[usable] = distance.nearest(
      arms.take(params, usable),
      train,
      spec,
      reference=reference,
      exclude_same_index=exclude_same_index,
      restarts=restarts,
      seed=seed,
    )
  return result, index


def metrics(
  distances: np.ndarray,
  bar: gate.Bar,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Novelty and copies of an arm.

  Args:
    distances: [N] to the nearest training network, NaN where there is none.
    bar: thresholds of the zoo.
    groups: [N] which seed made each network.
    resampler: for the intervals.

  Returns:
    metric -> entry of the report; novelty in units of tau.
  """
  return {
    'novelty': statistics.over_nets(
      distances / bar.tau, groups, resampler, window=None
    ),
    'copy_rate': statistics.rate(gate.copy(distances, bar)),
  }
