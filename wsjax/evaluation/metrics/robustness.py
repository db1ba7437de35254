"""Robustness to corrupted inputs: how much worse does a network get?

Errors are set against those of the zoo, kind by kind, so that a kind that is hard for every network
does not drown the others.
"""

import dataclasses
from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, predictions, statistics
from wsjax.evaluation.metrics import corruptions
from wsjax.models import model as model_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Suite:
  """Test items, clean and corrupted, on the device.

  Attributes:
    items: clean first, then kind by kind, severity by severity.
    labels: [n] int classes of the clean ones.
    kinds: names of the kinds.
  """

  items: predictions.Items
  labels: np.ndarray
  kinds: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
  """What N networks get wrong.

  Attributes:
    clean: [N, n] bool.
    corrupted: [N, k, s, n] bool, by kind and severity.
  """

  clean: np.ndarray
  corrupted: np.ndarray


def make_suite(
  inputs: typing.Array,
  labels: typing.Array,
  *,
  num_items: int = 256,
  kinds: tuple[str, ...] = corruptions.KINDS,
  side: int | None = None,
  seed: int = 0,
) -> Suite:
  """Corrupts a part of a test set.

  Args:
    inputs: [n, ...] images in [0, 1].
    labels: [n] int.
    num_items: of items taken, evenly spaced, if there are more.
    kinds: keys of `corruptions.LEVELS`.
    side: rows and columns of flat images.
    seed: of the corruptions.

  Returns:
    The suite.

  Raises:
    ValueError: if the inputs are no images in [0, 1].
  """
  chosen = methods.evenly(len(labels), num_items)
  clean, labels = np.asarray(inputs)[chosen], np.asarray(labels)[chosen]
  corrupted = corruptions.corrupt(clean, kinds=kinds, side=side, seed=seed)
  everything = [clean, *corrupted.reshape(-1, *clean.shape)]
  return Suite(
    items=predictions.make_items(np.concatenate(everything), np.tile(labels, len(everything))),
    labels=labels,
    kinds=tuple(kinds),
  )


def errors(architecture: model_lib.Model, params: typing.StackedParams, suite: Suite) -> Errors:
  """Runs N networks over a suite, in one program per architecture.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    suite: the items.

  Returns:
    Their errors; an output that is not finite is one.
  """
  labels = predictions.predict(architecture, params, suite.items).labels
  sets = labels.reshape(len(labels), -1, len(suite.labels))
  wrong = sets != suite.labels[None, None]
  shape = (len(labels), len(suite.kinds), corruptions.SEVERITIES, -1)
  return Errors(wrong[:, 0], wrong[:, 1:].reshape(shape))


def mce(found: Errors, reference: Errors, *, relative: bool = False) -> np.ndarray | None:
  """Mean corruption error, item by item.

  mCE = mean over kinds of [sum_s error(s) / sum_s reference error(s)]. It is linear in the errors,
  so that it is also a mean over items.

  Args:
    found: errors of N networks.
    reference: errors of the networks of the reference, whose mean is taken.
    relative: whether the clean error is first taken from every error.

  Returns:
    [N, n] whose mean over items is the mCE of each network; the mean over the reference itself is
    1. None if the reference loses nothing by some kind, which leaves nothing to divide by.

  Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, section 4.2.
  """

  def by_kind(some: Errors) -> np.ndarray:
    """[N, k, n] sums over severities."""
    sums = some.corrupted.sum(axis=2, dtype=np.float64)
    if relative:
      sums -= some.corrupted.shape[2] * some.clean[:, None]
    return sums

  scale = by_kind(reference).mean(axis=(0, 2))
  if np.any(scale <= 0):
    return None
  return np.mean(by_kind(found) / scale[None, :, None], axis=1)


def metrics(
  found: Errors,
  reference: Errors,
  kinds: tuple[str, ...],
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Robustness of an arm.

  Args:
    found: errors of its N networks on n items.
    reference: errors of the zoo; held fixed in the intervals.
    kinds: names of the kinds.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'mce', 'relative_mce', and for each family of kinds the
    'drop_<family>', 1 - accuracy / clean accuracy.
  """
  result = {}
  for key, relative in (('mce', False), ('relative_mce', True)):
    table = mce(found, reference, relative=relative)
    result[key] = statistics.not_run('the reference loses nothing by some kind of corruption')
    if table is not None:
      result[key] = statistics.two_way(table, groups, resampler)
  weights = resampler.nets(groups)

  def both(table: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of [N, n], and on the resamples."""
    per_item = weights @ table.astype(np.float32)
    return table.mean(), np.sum(per_item * resampler.items, axis=1)

  clean, clean_resamples = both(~found.clean)
  for family, members in corruptions.FAMILIES.items():
    chosen = [kinds.index(kind) for kind in members if kind in kinds]
    key = f'drop_{family}'
    if not chosen or not clean:
      result[key] = statistics.not_run(
        'no clean item is right' if chosen else 'no such corruption was made'
      )
      continue
    right, resamples = both(1 - found.corrupted[:, chosen].mean(axis=(1, 2)))
    # A resample without a right item has no ratio: nothing is lost there.
    share = resamples / np.where(clean_resamples > 0, clean_resamples, 1)
    result[key] = statistics.stat(
      float(1 - right / clean),
      1 - np.where(clean_resamples > 0, share, 1),
      n=len(found.clean),
      method=statistics.net_method('two-way', groups),
    )
  return result


def curve(found: Errors, kinds: tuple[str, ...]) -> dict[str, list[float]]:
  """Error by severity, for a figure.

  Args:
    found: errors of an arm.
    kinds: names of the kinds.

  Returns:
    family -> mean error at severities 0 (clean), 1, ..., 5.
  """
  by_kind = found.corrupted.mean(axis=(0, 3))
  result = {}
  for family, members in corruptions.FAMILIES.items():
    rows = [by_kind[kinds.index(kind)] for kind in members if kind in kinds]
    if rows:
      errors_ = np.mean(rows, axis=0).tolist()
      result[family] = [float(found.clean.mean()), *errors_]
  return result
