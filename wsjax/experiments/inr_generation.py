"""Generates implicit neural representations (INRs), which draw images.

The images that samples draw are compared with those of held-out training runs, value by value: not
clipped, no features. All comparisons of two sets rest on one set of held-out networks.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import ml_collections
import numpy as np
import scipy.spatial.distance

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import terminal, typing
from wsjax.evaluation import baselines, methods, reference, statistics, two_sample
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import generation
from wsjax.zoo.data import images as images_lib

_SHOWN = 10  # Networks in the figure.
_SHOWN_METHODS = ('soup-2 aligned', 'gaussian')
_FAR = 1e3  # Of a pixel that is not finite: far from every image.
_LEGIBLE = 0.95  # Share of images that have another one as near as a legible drawing has.
CEILING = 'fresh runs'

Stats = dict[str, dict[str, Any]]


METRICS = (
  metric_lib.Metric(
    'nna', '1-NNA', format='.1%',
    doc='Share of images whose nearest other one is of the set of the image, samples or held out: '
    '50 % where the sets cannot be told apart, 100 % where they lie apart, below 50 % where '
    'samples lie on held-out images.',
  ),
  metric_lib.Metric(
    'nna_worse', '1-NNA of the worse half', better='lower', format='.1%',
    heading='1-NNA (worse half)',
    doc='1-NNA of samples or of held-out images alone, whichever is further from 50 %, as its '
    'distance from 50 % above it: noise around held-out images has a 1-NNA near 50 %, since one '
    'half makes up for the other. A maximum: two equal sets of 100 have about 55 %, so read it '
    'beside further runs.',
  ),
  metric_lib.Metric(
    'mmd', 'MMD²', better='lower', format='.4f',
    doc='Squared maximum mean discrepancy to held-out images, unbiased. p is of exchanging samples '
    'and held-out networks, times the number of seeds.',
  ),
  metric_lib.Metric(
    'coverage', 'coverage', better='higher', format='.1%',
    doc='Share of held-out images with a sample among their 5 nearest.',
  ),
  metric_lib.Metric(
    'density', 'density', format='.2f',
    doc='Number of balls of 5 neighbours around held-out images that a sample lies in, over 5: 1 '
    'where both sets are alike.',
  ),
  metric_lib.Metric(
    'legible', 'legible', better='higher', format='.1%',
    doc='Share of drawings as near to an image of the data set, which no network was fitted to, as '
    '95 % of those images are to each other.',
  ),
  metric_lib.Metric(
    'to_image', 'RMSE to image', better='lower', format='.3f',
    doc='Median distance to the nearest such image, per pixel.',
  ),
  metric_lib.Metric(
    'novelty', 'distance', unit='τ', better='higher', format='.2f', heading='distance τ',
    doc='Median distance of weights to the nearest training network, up to symmetry, over that of '
    'training networks to each other.',
  ),
  metric_lib.Metric(
    'half_rate', 'at half the distance', better='higher', format='.1%', heading='≥ τ/2',
    doc='Share of networks at a distance of at least 0.5 τ.',
  ),
  metric_lib.Metric(
    'copy_rate', 'copies', better='lower', format='.1%', doc='Share nearer than 0.1 τ.'
  ),
  metric_lib.Metric(
    'image_novelty', 'image distance', better='higher', format='.2f',
    doc='Median distance to the nearest training image, over that between training images.',
  ),
)  # fmt: skip
_SUMMARY = ('nna', 'nna_worse', 'coverage', 'legible', 'novelty', 'copy_rate')


@dataclasses.dataclass(frozen=True)
class Evaluate(generation.Evaluate):
  """The section `evaluate`; `noise` are deviations of the baseline that adds noise to weights."""

  noise: tuple[config_lib.PositiveFloat, ...] = dataclasses.field(kw_only=True)

  def __post_init__(self):
    super().__post_init__()
    if self.num_samples < 6 or not self.noise:
      raise ValueError(
        f'evaluate.num_samples is {self.num_samples} and evaluate.noise {self.noise}; allowed: at '
        'least 6, since the 5 nearest neighbours of samples are compared, and at least one number.'
      )


class INRGeneration(generation.Generation):
  """Trains a generator of INRs; the images of its samples are compared with held-out ones.

  The test split is cut in two: the methods are compared with one half, and the other half is the
  method 'fresh runs', the ceiling.
  """

  METRICS = METRICS
  SECTIONS: ClassVar[Mapping[str, type]] = generation.Generation.SECTIONS | {'evaluate': Evaluate}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that the test split is large enough; see `Experiment.check`."""
    super().check(config, counts)
    num, count = config.evaluate.num_samples, (counts or {}).get('test', 0)
    if counts is not None and count < 2 * num:
      raise ValueError(_too_few(count, num))

  def compare(self, given: Sequence[methods.Method]) -> model.Report:
    """Evaluates networks of any origin beside all baselines.

    Raises:
      ValueError: if the test split has fewer than twice as many networks as are compared.
    """
    data, section = self.data, self.config.evaluate
    real, fresh = self._halves(section.num_samples)
    zoo = reference.Population(
      architecture=data.architecture,
      train=data.train,
      snapshots=data.snapshots,
      heldout=fresh,
      reference=data.reference,
      restarts=self.config.symmetry.restarts,
      seed=self.config.seed,
    )
    images = data.dataset.test_x
    draw = self._draw(images.shape[1])
    shown = np.concatenate([draw(x) for x in (data.train, data.snapshots) if x is not None])
    gallery = Gallery(
      zoo, *(np.asarray(x, np.float64).reshape(len(x), -1) for x in (shown, draw(real), images))
    )
    panel = baselines.panel(
      zoo, num_samples=section.num_samples, seed=self.config.seed, noise=section.noise
    )
    rows, drawn = {}, {}
    for method in terminal.track([*given, *panel], 'evaluate', show=self.progress):
      drawn[method.name] = gallery.look(method.params, draw(method.params))
      stats = measure(
        method, drawn[method.name], gallery, num_bootstrap=section.num_bootstrap,
        seed=self.config.seed,
      )  # fmt: skip
      seeds = [int(seed) for seed in method.seeds]
      rows[method.name] = model.Row(method.num_networks, stats, method.kind, seeds)
    return model.Report(
      _headline(given[0].name, rows),
      {
        'methods': model.Table(
          'Images of generated networks',
          METRICS,
          rows,
          f'All methods are compared with {len(gallery.real)} test networks. 95 % intervals: those '
          'of 1-NNA, MMD, coverage and density by a jackknife over blocks of networks, with the '
          'variance between training seeds added; those of medians resample networks and seeds; '
          'those of shares are exact binomial ones. "Fresh runs" are the other test networks. A '
          'copy of a training network draws as well as they do, so read 1-NNA beside the distance.',
          _SUMMARY,
        )
      },
      {'images': self._figure(given[0].name, drawn, gallery, images.shape[1:])},
      facts={
        'Zoo': {
          'architecture': data.architecture.name,
          'num_params': data.architecture.spec.num_params,
          'shared_init': bool(self.config.zoo.recipe.get('shared_init', False)),
          'canonicalize': self.config.symmetry.canonicalize,
          'dataset': data.dataset.name,
          'num_train': data.num_train,
          'num_real': len(gallery.real),
          'num_images': len(images),
          'tau': gallery.tau,
          'digest': self.zoo.digest,
        }
      },
    )

  def _halves(self, num: int) -> tuple[typing.StackedParams, typing.StackedParams]:
    """`num` test networks to compare with, and the others."""
    heldout = self.data.heldout
    count = 0 if heldout is None else networks_lib.length(heldout)
    if heldout is None or count < 2 * num:
      raise ValueError(_too_few(count, num))
    return networks_lib.take(heldout, slice(num)), networks_lib.take(heldout, slice(num, None))

  def _draw(self, pixels: int) -> Callable[[typing.StackedParams], np.ndarray]:
    """Networks -> images [N, pixels, pixels, channels]."""
    architecture = self.data.architecture
    one = jax.jit(jax.vmap(lambda params: images_lib.draw(architecture, params, pixels)))
    return functools.partial(networks_lib.in_chunks, one)

  def _figure(
    self, name: str, drawn: dict[str, 'Drawn'], gallery: 'Gallery', shape: tuple[int, ...]
  ) -> model.Figure:
    """The first images of a generator, of what is nearest to them, and of other methods."""
    first = drawn[name]
    table = np.linalg.norm(first.images[:_SHOWN, None] - gallery.shown[None], axis=-1)
    nearest = gallery.shown[first.nearest[:_SHOWN]]
    nearest[first.nearest[:_SHOWN] < 0] = 0  # Of no finite weights.
    rows = {
      'generated': first.images,
      'nearest training network': nearest,
      'nearest training image': gallery.shown[table.argmin(axis=1)],
      'held out': gallery.real,
    } | {key: drawn[key].images for key in _SHOWN_METHODS if key in drawn}
    num = min(_SHOWN, *map(len, rows.values()))
    images = {title: x[:num].reshape(-1, *shape).round(3) for title, x in rows.items()}
    return model.Figure(
      'images',
      {'rows': [{'title': title, 'images': x} for title, x in images.items()]},
      'Images of samples, of training and of held-out networks',
      'The first networks of each method, first training seed. Below the samples: the training '
      'network with the nearest weights, up to symmetry, and the training image that is nearest.',
    )


def _too_few(count: int, num: int) -> str:
  return (
    f'zoo.splits.test is {count}, and must be {2 * num} or more: {num} samples are compared with '
    'as many test networks, beside as many others.'
  )


def _headline(name: str, rows: dict[str, model.Row]) -> str:
  """The finding in one sentence."""
  known = {metric.name: metric for metric in METRICS}

  def text(method: str, key: str) -> str:
    metric, stat = known[key], rows[method].stats[key]
    sides = metric.interval(stat)
    unit = ' %' if metric.format.endswith('%') else ''
    return metric.text(stat['value']) + unit + (f' [{sides}]' if sides else '')

  return (
    f'Images of {name} have a 1-NNA of {text(name, "nna")}, in the worse half '
    f'{text(name, "nna_worse")} (fresh runs: {text(CEILING, "nna")} and '
    f'{text(CEILING, "nna_worse")}); their networks are {text(name, "novelty")} τ from the nearest '
    f'training network (fresh runs: {text(CEILING, "novelty")} τ); legible: '
    f'{text(name, "legible")}.'
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
  """Images and distances of the networks of one method.

  Attributes:
    images: [N, f] as drawn.
    distance: [N] to the nearest training network, over tau; NaN for weights that are not finite.
    nearest: [N] which training network that is, -1 for none.
  """

  images: np.ndarray
  distance: np.ndarray
  nearest: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
  """The images that those of all methods are compared with.

  Attributes:
    zoo: the training networks, and held-out ones that methods are made of.
    shown: [N + S, f] images of the training networks and, behind them, of their snapshots.
    real: [n, f] images of held-out networks that no method is made of.
    dataset: [m, f] images of the data set, which no network was fitted to.
  """

  zoo: reference.Population
  shown: np.ndarray
  real: np.ndarray
  dataset: np.ndarray

  @property
  def train(self) -> np.ndarray:
    """[N, f] images of the training networks."""
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
  def image_tau(self) -> float:
    """Median distance of a training image to the nearest other one."""
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
    return float(np.quantile(two_sample.radii(self.dataset, k=1), _LEGIBLE))

  def look(self, params: typing.StackedParams, images: np.ndarray) -> Drawn:
    """Finds the training network nearest to each network, and keeps the images."""
    images = np.nan_to_num(
      images.reshape(len(images), -1), nan=_FAR, posinf=_FAR, neginf=-_FAR
    ).clip(-_FAR, _FAR)
    distance, index = self.zoo.shown.nearest(
      params, similarity=-scipy.spatial.distance.cdist(images, self.shown)
    )
    return Drawn(images, distance / self.tau, index)


def measure(
  method: methods.Method, drawn: Drawn, gallery: Gallery, *, num_bootstrap: int, seed: int
) -> Stats:
  """Computes all metrics of one method, metric -> number with its interval.

  Where it has more or fewer networks per seed than the gallery has real images, sets of the smaller
  size are compared. 'mmd' has 'p', the smallest p-value of all training seeds times their number.
  """
  return _sets(method, drawn, gallery, seed) | _nets(
    method.groups, drawn, gallery, statistics.Resampler(0, num_bootstrap, seed)
  )


def _sets(method: methods.Method, drawn: Drawn, gallery: Gallery, seed: int) -> Stats:
  """Metrics that compare the images of each seed with the real ones."""
  groups = method.groups
  by_seed = np.stack([drawn.images[groups == g] for g in np.unique(groups)])
  count = min(by_seed.shape[1], len(gallery.real))
  by_seed, real = by_seed[:, :count], gallery.real[:count]
  statistic = {
    'nna': (lambda a, b: two_sample.one_nearest(a, b).mean(), (0, 1)),
    'nna_worse': (_worse_half, (0.5, 1)),
    'mmd': (lambda a, b: _mmd2(a, b, gallery.width), (-np.inf, np.inf)),
    'coverage': (lambda a, b: two_sample.compare(b, a)['coverage'].mean(), (0, 1)),
    'density': (lambda a, b: two_sample.compare(b, a)['density'].mean(), (0, np.inf)),
  }
  found = {
    name: statistics.jackknife(function, by_seed, real, bounds=bounds)
    for name, (function, bounds) in statistic.items()
  }
  rng = np.random.default_rng([seed, 4])
  p = [two_sample.test(rng, a, real, gallery.width)[1] for a in by_seed]
  found['mmd']['p'] = min(1.0, min(p) * len(p))
  return found


def _nets(
  groups: np.ndarray, drawn: Drawn, gallery: Gallery, resampler: statistics.Resampler
) -> Stats:
  """Metrics that are medians and shares of single networks."""
  to_image, to_shown = (
    scipy.spatial.distance.cdist(drawn.images, images).min(axis=1)
    for images in (gallery.dataset, gallery.shown)
  )
  medians = {
    'novelty': drawn.distance,
    'image_novelty': to_shown / gallery.image_tau,
    'to_image': to_image / np.sqrt(drawn.images.shape[1]),
  }
  shares = {
    'copy_rate': drawn.distance < reference.COPY,
    'half_rate': drawn.distance >= 0.5,
    'legible': to_image <= gallery.legible,
  }
  seeds = [groups == g for g in np.unique(groups)]
  return {
    name: statistics.over_networks(values, groups, resampler, window=None)
    | {'per_seed': [_median(values[rows]) for rows in seeds]}
    for name, values in medians.items()
  } | {
    name: statistics.rate(hits) | {'per_seed': [float(hits[rows].mean()) for rows in seeds]}
    for name, hits in shares.items()
  }


def _median(values: np.ndarray) -> float | None:
  """Of the networks that have a value; None if none has."""
  known = values[np.isfinite(values)]
  return float(np.median(known)) if len(known) else None


def _worse_half(samples: np.ndarray, real: np.ndarray) -> float:
  """Leave-one-out accuracy of `one_nearest` in the half that is further from 1/2, at least 1/2."""
  hits = two_sample.one_nearest(samples, real)
  halves = hits[: len(samples)].mean(), hits[len(samples) :].mean()
  return 0.5 + max(abs(half - 0.5) for half in halves)


def _mmd2(a: np.ndarray, b: np.ndarray, width: float) -> float:
  """Unbiased squared discrepancy of two sets."""
  pooled = np.concatenate([a, b])
  first = (np.arange(len(pooled)) < len(a))[None]
  products = two_sample.kernel(pooled, pooled, width)
  return float(two_sample.mmd2(products, first)[0])
