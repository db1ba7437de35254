"""Robustness to corrupted inputs: how much worse does a network get?

Errors are divided by those of the zoo, so that a kind that is hard for all does not dominate.
"""

import dataclasses

import numpy as np

from wsjax.evaluation import image_corruptions, predictions, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Metric, NotRun, Stat, metric
from wsjax.evaluation.reference import Reference

LIMIT = (64, 256)
GROUP = 'Robustness to corrupted images'


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
  """Errors of N networks.

  Attributes:
    clean: [N, n] bool.
    corrupted: [N, k, s, n] bool, by kind and severity.
  """

  clean: np.ndarray
  corrupted: np.ndarray


@once
def images(method: Sample) -> np.ndarray:
  """[n, h, w, c] test inputs; raises NotRun if they are no images in [0, 1]."""
  try:
    return image_corruptions.as_images(method.x)
  except ValueError as error:
    raise NotRun(str(error)) from None


@once
def suite(zoo: Sample) -> predictions.Items:
  """Test items on the device: clean, then kind by kind, severity by severity."""
  images(zoo)
  corrupted = image_corruptions.corrupt(zoo.x, seed=zoo.reference.seed)
  sets = [zoo.x, *corrupted.reshape(-1, *zoo.x.shape)]
  return predictions.make_items(np.concatenate(sets), np.tile(zoo.y, len(sets)))


@once
def errors(method: Sample) -> Errors:
  """Errors of all networks on clean and corrupted items; outputs that are not finite are errors."""
  labels = predictions.predict(
    method.reference.architecture, method.params, suite(method.zoo)
  ).labels
  wrong = labels.reshape(len(labels), -1, len(method.y)) != method.y[None, None]
  kinds, severities = len(image_corruptions.KINDS), image_corruptions.SEVERITIES
  return Errors(wrong[:, 0], wrong[:, 1:].reshape(len(labels), kinds, severities, -1))


def corruption_error(found: Errors, reference: Errors, *, relative: bool = False) -> np.ndarray:
  """Mean corruption error [N, n] item by item; the mean over the reference itself is 1.

  mCE = mean over kinds of [sum_s error(s) / sum_s reference error(s)] is linear in the errors, so
  that it is also a mean over items.

  Args:
    found: errors of N networks.
    reference: errors of the networks of the reference, whose mean is taken.
    relative: whether the clean error is first subtracted from every error.

  Raises:
    NotRun: if the reference loses nothing by some kind, which leaves nothing to divide by.

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
    raise NotRun('the reference loses nothing by some kind of corruption')
  return np.mean(by_kind(found) / scale[None, :, None], axis=1)


def rows_of(family: str) -> list[int]:
  """Places of the kinds of a family."""
  return [image_corruptions.KINDS.index(kind) for kind in image_corruptions.FAMILIES[family]]


def lost(method: Sample, family: str) -> Stat:
  """1 - accuracy on corrupted items / accuracy on clean ones, networks and items resampled."""
  found, weights = errors(method), method.resampler.networks(method.groups)

  def both(table: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of [N, n], and on the resamples."""
    per_item = weights @ table.astype(np.float32)
    return table.mean(), np.sum(per_item * method.resampler.items, axis=1)

  clean, clean_resamples = both(~found.clean)
  if not clean:
    raise NotRun('no clean item is right')
  right, resamples = both(1 - found.corrupted[:, rows_of(family)].mean(axis=(1, 2)))
  # A resample without a right item has no ratio: nothing is lost there.
  share = resamples / np.where(clean_resamples > 0, clean_resamples, 1)
  return statistics.stat(
    float(1 - right / clean),
    1 - np.where(clean_resamples > 0, share, 1),
    n=len(found.clean),
    method=statistics.method_name('two-way', method.groups),
  )


@metric('mean corruption error', '.2f', better='lower', heading='mCE')
def mce(method: Sample, reference: Reference) -> Stat:
  """Error on corrupted items over that of the zoo, summed over five severities, mean over nine
  kinds: 1 is the zoo.
  """
  return method.mean(corruption_error(errors(method), errors(method.zoo)))


@metric('relative corruption error', '.2f', better='lower', heading='relative mCE')
def relative_mce(method: Sample, reference: Reference) -> Stat:
  """Corruption error with the clean error subtracted from every error: how much worse a network
  gets, over how much worse the zoo gets. A network at chance has nothing to lose.
  """
  return method.mean(corruption_error(errors(method), errors(method.zoo), relative=True))


def _drop(family: str) -> Metric:
  kinds = ', '.join(image_corruptions.FAMILIES[family]).replace('_', ' ')
  return metric(
    f'accuracy lost to {family}', '.1%', name=f'drop_{family}', better='lower',
    heading=f'{family} −',
    doc=f'Share of the clean accuracy that is lost, mean over five severities of {kinds}. A '
    'network at chance has nothing to lose.',
  )(lambda method, reference: lost(method, family))  # fmt: skip


METRICS = tuple(map(_drop, image_corruptions.FAMILIES))


def curve(method: Sample) -> dict[str, list[float]]:
  """Family -> mean error at severities 0 (clean), 1, ..., 5, for a figure."""
  found = errors(method)
  by_kind = found.corrupted.mean(axis=(0, 3))
  return {
    family: [float(found.clean.mean()), *by_kind[rows_of(family)].mean(axis=0).tolist()]
    for family in image_corruptions.FAMILIES
  }
