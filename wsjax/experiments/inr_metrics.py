"""Do generated networks draw what further training runs would draw?

Pictures are compared as drawn, value by value: not clipped, no features. All that compares two sets
rests on one set of held-out networks.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.spatial.distance

from wsjax import typing
from wsjax.evaluation import gate, methods, reference, statistics, two_sample

# What a network draws that is not finite: far from every picture.
_FAR = 1e3
# Share of images that have another one as near as a legible drawing has.
_LEGIBLE = 0.95

Metrics = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
  """What one arm made.

  Attributes:
    pictures: [N, f] as drawn.
    distance: [N] quotient distance to the nearest training network, over tau; NaN for one whose
      weights are not finite.
    nearest: [N] which training network that is, -1 for none.
  """

  pictures: np.ndarray
  distance: np.ndarray
  nearest: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
  """The pictures that those of all arms are held against.

  Attributes:
    zoo: the training networks, and held-out ones that arms are made of.
    shown: [N + S, f] what the training networks and, behind them, their snapshots draw.
    real: [n, f] what held-out networks draw that no arm is made of.
    images: [m, f] of the data set, which no network was fitted to.
  """

  zoo: reference.Population
  shown: np.ndarray
  real: np.ndarray
  images: np.ndarray

  @property
  def train(self) -> np.ndarray:
    """[N, f] what the training networks draw."""
    return self.shown[: self.zoo.num_train]

  @functools.cached_property
  def tau(self) -> float:
    """Median distance of a training network to the nearest other one."""
    distance, _ = self.zoo.neighbours.nearest(
      self.zoo.train,
      similarity=-scipy.spatial.distance.cdist(self.train, self.train),
      exclude_same_index=True,
    )
    return float(np.median(distance))

  @functools.cached_property
  def picture_tau(self) -> float:
    """Median distance of a training picture to the nearest other one."""
    return float(np.median(two_sample.radii(self.train, k=1)))

  @functools.cached_property
  def width(self) -> float:
    """Of the kernel of the discrepancy."""
    return two_sample.bandwidth(self.train)

  @functools.cached_property
  def legible(self) -> float:
    """Distance to an image within which a drawing is called legible.

    From the images alone, so that a zoo that draws badly is not its own yardstick.
    """
    return float(np.quantile(two_sample.radii(self.images, k=1), _LEGIBLE))

  def look(self, params: typing.StackedParams, pictures: np.ndarray) -> Drawn:
    """What is known of each network: its picture, and what it is a copy of."""
    pictures = np.nan_to_num(
      pictures.reshape(len(pictures), -1), nan=_FAR, posinf=_FAR, neginf=-_FAR
    ).clip(-_FAR, _FAR)
    distance, index = self.zoo.shown.nearest(
      params, similarity=-scipy.spatial.distance.cdist(pictures, self.shown)
    )
    return Drawn(pictures, distance / self.tau, index)


def measure(
  arm: methods.Method, drawn: Drawn, gallery: Gallery, *, num_bootstrap: int, seed: int
) -> Metrics:
  """Entries of one arm.

  Args:
    arm: where it has more or fewer networks per seed than the gallery has real pictures, sets are
      compared that are as large as the smaller.
    drawn: by the arm.
    gallery: what it is held against.
    num_bootstrap: resamples behind intervals over networks.
    seed: of resamples and permutations.

  Returns:
    metric -> entry of the report. 'mmd' has 'p', the smallest p-value of all training seeds times
    their number.
  """
  return _sets(arm, drawn, gallery, seed) | _nets(
    arm.groups, drawn, gallery, statistics.Resampler(0, num_bootstrap, seed)
  )


def _sets(arm: methods.Method, drawn: Drawn, gallery: Gallery, seed: int) -> Metrics:
  """Entries that compare the pictures of each seed with the real ones."""
  groups = arm.groups
  by_seed = np.stack([drawn.pictures[groups == g] for g in np.unique(groups)])
  count = min(by_seed.shape[1], len(gallery.real))
  by_seed, real = by_seed[:, :count], gallery.real[:count]
  found = {
    name: statistics.jackknife(statistic, by_seed, real, bounds=bounds)
    for name, statistic, bounds in (
      ('nna', lambda a, b: two_sample.one_nearest(a, b).mean(), (0, 1)),
      ('nna_worse', _worse_half, (0.5, 1)),
      ('mmd', lambda a, b: _mmd2(a, b, gallery.width), (-np.inf, np.inf)),
      ('coverage', lambda a, b: _share(a, b, 'coverage'), (0, 1)),
      ('density', lambda a, b: _share(a, b, 'density'), (0, np.inf)),
    )
  }
  rng = np.random.default_rng([seed, 4])
  p = [two_sample.test(rng, a, real, gallery.width)[1] for a in by_seed]
  found['mmd']['p'] = min(1.0, min(p) * len(p))
  return found


def _nets(
  groups: np.ndarray, drawn: Drawn, gallery: Gallery, resampler: statistics.Resampler
) -> Metrics:
  """Entries that are medians and shares of single networks."""
  to_image = _nearest(drawn.pictures, gallery.images)
  to_shown = _nearest(drawn.pictures, gallery.shown)
  medians = {
    'novelty': drawn.distance,
    'picture_novelty': to_shown / gallery.picture_tau,
    'to_image': to_image / np.sqrt(drawn.pictures.shape[1]),
  }
  shares = {
    'copy_rate': drawn.distance < gate.COPY,
    'half_rate': drawn.distance >= 0.5,
    'legible': to_image <= gallery.legible,
  }
  found = {
    name: statistics.over_networks(values, groups, resampler, window=None)
    for name, values in medians.items()
  } | {name: statistics.rate(hits) for name, hits in shares.items()}
  for name, values in medians.items():
    found[name]['per_seed'] = _per_seed(_median, values, groups)
  for name, hits in shares.items():
    found[name]['per_seed'] = _per_seed(_mean, hits, groups)
  return found


def _per_seed(
  summary: Callable[[np.ndarray], float | None], values: np.ndarray, groups: np.ndarray
) -> list[float | None]:
  """A summary of the networks of each seed."""
  return [summary(values[groups == g]) for g in np.unique(groups)]


def _median(values: np.ndarray) -> float | None:
  """Of the networks that have a value; None if none has."""
  known = values[np.isfinite(values)]
  return float(np.median(known)) if len(known) else None


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values))


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A] distance to the nearest of B."""
  return scipy.spatial.distance.cdist(a, b).min(axis=1)


def _worse_half(samples: np.ndarray, real: np.ndarray) -> float:
  """What `one_nearest` is for the half that is further from 1/2, at least 1/2.

  Noise around the real pictures has these as its neighbours, and these have each other: one half is
  near 0, the other near 1, and the mean near 1/2.
  """
  hits = two_sample.one_nearest(samples, real)
  halves = hits[: len(samples)].mean(), hits[len(samples) :].mean()
  return 0.5 + max(abs(half - 0.5) for half in halves)


def _share(samples: np.ndarray, real: np.ndarray, name: str) -> float:
  """A mean of `two_sample.compare`."""
  return float(two_sample.compare(real, samples)[name].mean())


def _mmd2(a: np.ndarray, b: np.ndarray, width: float) -> float:
  """Unbiased squared discrepancy of two sets."""
  pooled = np.concatenate([a, b])
  first = (np.arange(len(pooled)) < len(a))[None]
  products = two_sample.kernel(pooled, pooled, width)
  return float(two_sample.mmd2(products, first)[0])
