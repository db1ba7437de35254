"""Do generated networks draw what further training runs would draw?

Pictures are compared as drawn, value by value: not clipped, no features. All
that compares two sets rests on one set of held-out networks.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.spatial.distance

from wsjax import typing
from wsjax.evaluate import (
  arms,
  coverage,
  gate,
  jackknife,
  population,
  statistics,
  two_sample,
)

# What a network draws that is not finite: far from every picture.
_FAR = 1e3
# Share of held-out networks whose drawings are called legible.
_LEGIBLE = 0.95

_SHARE, _ANY = (0.0, 1.0), (-np.inf, np.inf)
_BOUNDS = {'nna': _SHARE, 'coverage': _SHARE, 'density': (0.0, np.inf)}

Metrics = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
  """What one arm made.

  Attributes:
    pictures: [N, f] as drawn.
    distance: [N] quotient distance to the nearest training network, over tau;
      NaN for one whose weights are not finite.
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
    train: [T, f] what the training networks draw.
    real: [n, f] what held-out networks draw that no arm is made of.
    images: [m, f] of the data set, which no network was fitted to.
  """

  zoo: population.Population
  train: np.ndarray
  real: np.ndarray
  images: np.ndarray

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
    table = scipy.spatial.distance.cdist(self.train, self.train)
    np.fill_diagonal(table, np.inf)
    return float(np.median(table.min(axis=1)))

  @functools.cached_property
  def width(self) -> float:
    """Of the kernel of the discrepancy."""
    return two_sample.bandwidth(self.train)

  @functools.cached_property
  def legible(self) -> float:
    """Distance to an image within which a drawing is called legible."""
    return float(np.quantile(_nearest(self.real, self.images), _LEGIBLE))

  def look(self, params: typing.StackedParams, pictures: np.ndarray) -> Drawn:
    """What is known of each network: its picture, and what it is a copy of."""
    pictures = np.nan_to_num(
      pictures.reshape(len(pictures), -1), nan=_FAR, posinf=_FAR, neginf=-_FAR
    ).clip(-_FAR, _FAR)
    distance, index = self.zoo.neighbours.nearest(
      params, similarity=-scipy.spatial.distance.cdist(pictures, self.train)
    )
    return Drawn(pictures, distance / self.tau, index)


def measure(
  arm: arms.Arm,
  drawn: Drawn,
  gallery: Gallery,
  *,
  num_bootstrap: int,
  seed: int,
) -> Metrics:
  """Entries of one arm.

  Args:
    arm: with as many networks per seed as the gallery has real pictures, or
      fewer: then as many of these are left out.
    drawn: by the arm.
    gallery: what it is held against.
    num_bootstrap: resamples behind intervals over networks.
    seed: of resamples and permutations.

  Returns:
    metric -> entry of the report. 'mmd' has 'p', the smallest p-value of all
    training seeds times their number.
  """
  groups, resampler = arm.groups, statistics.Resampler(0, num_bootstrap, seed)
  by_seed = np.stack([drawn.pictures[groups == g] for g in np.unique(groups)])
  real = gallery.real[: by_seed.shape[1]]
  over_sets = {
    'nna': lambda a, b: two_sample.one_nearest(a, b).mean(),
    'mmd': lambda a, b: _mmd2(a, b, gallery.width),
    'coverage': lambda a, b: coverage.compare(b, a)['coverage'].mean(),
    'density': lambda a, b: coverage.compare(b, a)['density'].mean(),
  }
  found = {
    name: jackknife.interval(
      statistic, by_seed, real, bounds=_BOUNDS.get(name, _ANY)
    )
    for name, statistic in over_sets.items()
  }
  rng = np.random.default_rng([seed, 4])
  p = [two_sample.test(rng, a, real, gallery.width)[1] for a in by_seed]
  found['mmd']['p'] = min(1.0, min(p) * len(p))
  to_image = _nearest(drawn.pictures, gallery.images)
  to_train = _nearest(drawn.pictures, gallery.train) / gallery.picture_tau
  for name, values in {
    'novelty': drawn.distance,
    'picture_novelty': to_train,
    'to_image': to_image / np.sqrt(drawn.pictures.shape[1]),
  }.items():
    found[name] = statistics.over_nets(values, groups, resampler, window=None)
    found[name]['per_seed'] = [
      float(np.nanmedian(values[groups == g])) for g in np.unique(groups)
    ]
  for name, hits in {
    'copy_rate': drawn.distance < gate.COPY,
    'half_rate': drawn.distance >= 0.5,
    'legible': to_image <= gallery.legible,
  }.items():
    found[name] = statistics.rate(hits)
    found[name]['per_seed'] = [
      float(hits[groups == g].mean()) for g in np.unique(groups)
    ]
  return found


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[A] distance to the nearest of B."""
  return scipy.spatial.distance.cdist(a, b).min(axis=1)


def _mmd2(a: np.ndarray, b: np.ndarray, width: float) -> float:
  """Unbiased squared discrepancy of two sets."""
  pooled = np.concatenate([a, b])
  first = (np.arange(len(pooled)) < len(a))[None]
  products = two_sample.kernel(pooled, pooled, width)
  return float(two_sample.mmd2(products, first)[0])
