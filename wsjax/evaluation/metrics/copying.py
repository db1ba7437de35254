"""Is it a copy? Networks beside held-out runs, which have not seen the training networks either.

`heldout` of an entry is the value of held-out networks, which an honest generator has, too; its
p-value is of a number so suspicious by chance, if samples are exchangeable with held-out networks.
"""

from collections.abc import Callable

import numpy as np
import scipy.stats
import sklearn.metrics

from wsjax import networks as networks_lib
from wsjax.evaluation import methods, neighbours, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.metrics import novelty
from wsjax.evaluation.reference import Reference

MIN_NETWORKS = 10  # Of each of two sets that are compared.
QUANTILE = 0.01  # Of the distances of held-out networks: nearer samples are replicas.
# Held-out networks below which the quantile rests on fewer than three of them.
ENOUGH = 300
NUM_PERMUTATIONS = 1000
# Networks that differ by at most this accuracy can be compared by their error-IoU.
MATCHED = 0.005
# Two vectors of one network, as a share of the norm: float32 and canonical forms leave 1e-4.
_SAME = 1e-3

GROUP = 'Copying'
# Flags that small p-values raise.
_NEAR = 'nearer to training networks than fresh runs'
_ERRORS = 'shares errors with training networks'
_BLEND = 'nearer to blends of training networks than fresh runs'


@once
def around(method: Sample) -> neighbours.Neighbourhood:
  """Training networks around each finite network."""
  reference = method.reference
  return neighbours.search(
    method.canonical, reference.aligned_train, reference.architecture.spec, novelty.overlap(method),
    excluded=method.networks if method.is_zoo else None, seed=reference.seed,
  )  # fmt: skip


@once
def vectors(method: Sample) -> np.ndarray:
  """[N, d] canonical forms of finite networks."""
  return networks_lib.flatten(method.canonical)


@once
def apart(method: Sample) -> tuple[np.ndarray, np.ndarray]:
  """Rows [N] and [M] bool of the finite networks and of the held-out ones that are compared.

  Raises:
    NotRun: if there are fewer than 10 held-out networks.
  """
  mine, theirs = disjoint(vectors(method), vectors(methods.heldout(method.reference)))
  if theirs.sum() < MIN_NETWORKS:
    raise NotRun(f'there are fewer than {MIN_NETWORKS} held-out networks')
  return mine, theirs


def disjoint(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """[N] and [M] bool, the networks to compare, so that none is on both sides.

  Fresh runs are drawn from the held-out networks that they are compared with. Each side keeps half
  of the shared networks. Canonical forms [N, d] and [M, d] that are equal up to rounding are one
  network.
  """
  distance = sklearn.metrics.pairwise.euclidean_distances(mine, theirs)
  same = distance <= _SAME * np.linalg.norm(theirs, axis=1)[None]
  shared = np.flatnonzero(same.any(axis=0))
  return (~same[:, shared[1::2]].any(axis=1), ~np.isin(np.arange(len(theirs)), shared[::2]))


def threshold(h: np.ndarray) -> float:
  """1 % quantile of the distances [M] of held-out networks."""
  return float(np.quantile(h, QUANTILE))


def p_lower(samples: np.ndarray, heldout: np.ndarray) -> float:
  """Probability of values [N] so low beside those of held-out networks [M], by chance.

  Both sets are exchangeable for an honest generator, if the value of a network depends on it and on
  the training networks alone.

  Source: Mann and Whitney 1947, doi:10.1214/aoms/1177730491.
  """
  if np.ptp(np.concatenate([samples, heldout])) == 0:
    return 1.0
  return float(scipy.stats.mannwhitneyu(samples, heldout, alternative='less').pvalue)


def p_replicas(r: np.ndarray, h: np.ndarray) -> float:
  """Probability of so many of N samples below the k-th least of M held-out distances, by chance.

  k is 1 + 0.01 (M - 1), rounded down. That c samples lie below means that among the c + k - 1 least
  distances of both sets fewer than k are held out, which is hypergeometric.
  """
  k = int(QUANTILE * (len(h) - 1)) + 1
  count = int(np.sum(r < np.sort(h)[k - 1]))
  draws = min(count + k - 1, len(r) + len(h))
  return float(scipy.stats.hypergeom.cdf(k - 1, len(r) + len(h), len(h), draws))


def replicas(r: np.ndarray, h: np.ndarray) -> Stat:
  """Share of samples nearer to the training networks than 99 % of held-out networks are.

  `heldout` of the entry is what an honest generator is expected to have: of M held-out networks the
  quantile lies above 1 + 0.01 (M - 1) of M + 1 equal shares; `note` says so where that is far from
  1 %. `p` is that of `p_replicas`.

  Args:
    r: [N] distances of samples to the nearest training network.
    h: [M] distances of held-out networks.
  """
  honest = (1 + QUANTILE * (len(h) - 1)) / (len(h) + 1)
  entry = statistics.rate(r < threshold(h)) | {'heldout': honest, 'p': p_replicas(r, h)}
  if len(h) < ENOUGH:
    entry['note'] = (
      f'the 1 % quantile of {len(h)} held-out networks is unstable (below {ENOUGH}): an honest '
      f'generator has about {honest:.1%}, give or take as much'
    )
  return entry


def copying_test(rng: np.random.Generator, r: np.ndarray, h: np.ndarray) -> tuple[float, float]:
  """Data-copying test: are samples nearer to the training networks than held-out networks are?

  It has little power for few copies among many samples; `replicas` has.

  Args:
    rng: source of 1000 permutations.
    r: [N] distances of samples to the nearest training network.
    h: [M] distances of held-out networks.

  Returns:
    z of the Mann-Whitney statistic, ties at half: below 0 where samples are nearer (copying), above
    0 where they are farther (underfitting); and the probability of one at most as large by chance.

  Source: Meehan et al. 2020, arXiv:2004.05675, section 3.1 (Z_U), with one cell for all.
  """
  n, m = len(r), len(h)
  ranks = scipy.stats.rankdata(np.concatenate([r, h]))
  centre = n * (n + m + 1) / 2
  # The variance of ranks that are drawn without replacement; with ties less.
  variance = n * m / (n + m - 1) * np.var(ranks)
  total = ranks[:n].sum()
  order = np.argsort(rng.random((NUM_PERMUTATIONS, n + m)), axis=1)[:, :n]
  as_small = ranks[order].sum(axis=1) <= total
  z = (total - centre) / np.sqrt(variance) if variance > 0 else 0.0
  return float(z), float((1 + as_small.sum()) / (1 + NUM_PERMUTATIONS))


def authentic(distance: np.ndarray, index: np.ndarray, train_distance: np.ndarray) -> np.ndarray:
  """[N] bool, whether a network is farther from its nearest training network than all others are.

  Args:
    distance: [N] to the nearest training network.
    index: [N] which one that is.
    train_distance: [T] of each training network to the nearest other one.

  Source: Alaa et al. 2022, arXiv:2102.08921, section 3.3; about half of honest samples are, not
    all.
  """
  return distance > train_distance[index]


def overlap_excess(
  iou: np.ndarray, accuracy: np.ndarray, heldout_iou: np.ndarray, heldout_accuracy: np.ndarray
) -> np.ndarray:
  """[N] largest error-IoU above the mean of held-out networks [M] of like accuracy (0.005).

  All networks miss hard items, and the more so the better they are. NaN where none is as accurate.

  Source: arXiv:2506.07998, section 3 (accuracy against largest IoU).
  """
  gap = np.abs(accuracy[:, None] - heldout_accuracy[None])
  matched = gap <= MATCHED + 1e-9
  count = matched.sum(axis=1)
  null = matched @ heldout_iou / np.maximum(count, 1)
  return np.where(count > 0, iou - null, np.nan)


def beside_heldout(
  stat: Stat, values_of: Callable[[Sample], np.ndarray], method: Sample, *, test: bool = True
) -> Stat:
  """Adds the median of held-out networks, 'heldout', and 'p' of values so low by chance.

  Args:
    stat: of the method; unchanged without held-out networks.
    values_of: sample -> a number per finite network. For the test it may depend on the network and
      on the training networks alone.
    method: the method.
    test: whether to add 'p'.
  """
  try:
    heldout = values_of(methods.heldout(method.reference))
  except NotRun:
    return stat
  if stat['value'] is None or not np.isfinite(heldout).any():
    return stat
  stat['heldout'] = float(np.nanmedian(heldout))
  try:
    mine, theirs = apart(method.finite)
  except NotRun:
    return stat
  samples = values_of(method.finite)[mine]
  heldout = heldout[theirs]
  if test and np.isfinite(samples).all() and np.isfinite(heldout).all():
    stat['p'] = p_lower(samples, heldout)
  return stat


def _authentic(method: Sample) -> np.ndarray:
  """[N] bool of the finite networks."""
  found = around(method)
  return authentic(found.distance, found.index, around(method.zoo.finite).distance)


@once
def distances(method: Sample) -> tuple[np.ndarray, np.ndarray]:
  """Distances over tau to the training networks, [n] of finite networks and [m] held out."""
  mine, theirs = apart(method)
  other = around(methods.heldout(method.reference))
  tau = method.reference.thresholds.tau
  return around(method).distance[mine] / tau, other.distance[theirs] / tau


@metric('replicas', '.0%', better='lower', flag=_NEAR)
def replica_rate(method: Sample, reference: Reference) -> Stat:
  """Networks nearer to a training network than 99 % of held-out networks are. An honest generator
  has about 1 %.
  """
  r, h = distances(method.finite)
  return replicas(r, h) | {'threshold': threshold(h)}


@metric('replicas by ratio', '.0%', better='lower', flag=_NEAR)
def replica_rate_ratio(method: Sample, reference: Reference) -> Stat:
  """Replicas by the distance to the nearest training network over that to the next: a replica is
  near to one, not to all.
  """
  mine, theirs = apart(method.finite)
  ratios = around(method.finite).ratio[mine], around(methods.heldout(reference)).ratio[theirs]
  if not all(np.isfinite(ratio).all() for ratio in ratios):
    raise NotRun('a training network has one other one')
  return replicas(*ratios)


@metric('nearest over next distance', '.3f', heading='1st / 2nd', flag=_NEAR)
def neighbour_ratio(method: Sample, reference: Reference) -> Stat:
  """Median distance to the nearest training network over that to the next. 1: near to none in
  particular. Compare with held-out networks.
  """
  finite = method.finite
  stat = finite.over_networks(around(finite).ratio, None)
  return beside_heldout(stat, lambda sample: around(sample).ratio, method)


@metric('data-copying z', '+.1f', heading='copying z', flag=_NEAR)
def copying_z(method: Sample, reference: Reference) -> Stat:
  """Mann-Whitney z of the distances to the training networks against those of held-out networks,
  with the probability p of one so low by chance. Below 0: copying; above 0: underfitting.
  """
  r, h = distances(method.finite)
  rng = np.random.default_rng([reference.seed, 3, 0])  # It does not differ between methods.
  z, p = copying_test(rng, r, h)
  return statistics.exact(z, len(r)) | {'p': p}


@metric('authenticity', '.0%', heading='authentic', flag=_NEAR)
def authenticity(method: Sample, reference: Reference) -> Stat:
  """Networks farther from their nearest training network than any other training network is from
  that one. Compare with held-out networks.
  """
  hits = _authentic(method.finite)
  stat = statistics.rate(hits)
  try:
    others = _authentic(methods.heldout(reference))
    stat['heldout'] = float(np.mean(others))
    mine, theirs = apart(method.finite)
  except NotRun:
    return stat
  table = [[int(x.sum()), int((~x).sum())] for x in (hits[mine], others[theirs])]
  return stat | {'p': float(scipy.stats.fisher_exact(table, alternative='less').pvalue)}


@metric('distance to the hull', '.2f', heading='to hull', flag=_BLEND)
def hull_residual(method: Sample, reference: Reference) -> Stat:
  """Distance to the convex hull of 16 aligned training networks over that to the nearest of them,
  median: 0 for averages of neighbours, 1 for copies with noise. Compare with held-out networks.
  """
  finite = method.finite
  stat = finite.over_networks(around(finite).residual, None)
  return beside_heldout(stat, lambda sample: around(sample).residual, method)


@metric('error-IoU above held-out', '+.2f', better='lower', heading='IoU − held-out', flag=_ERRORS)
def iou_excess(method: Sample, reference: Reference) -> Stat:
  """Largest error-IoU with a training network, less that of held-out networks within half a point
  of accuracy; n is the number of networks that have any.
  """
  finite, heldout = method.finite, methods.heldout(reference)
  mine, theirs = apart(finite)
  others = novelty.max_overlap(heldout)[theirs], heldout.accuracy[theirs]
  excess = overlap_excess(novelty.max_overlap(finite)[mine], finite.accuracy[mine], *others)
  if not np.isfinite(excess).any():
    raise NotRun('no held-out network is as accurate')
  stat = statistics.over_networks(excess, finite.groups[mine], finite.resampler)
  null = np.array(
    [
      overlap_excess(*(x[[i]] for x in others), *(np.delete(x, i) for x in others))[0]
      for i in range(len(others[0]))
    ]
  )
  excess, null = excess[np.isfinite(excess)], null[np.isfinite(null)]
  if min(len(excess), len(null)) >= MIN_NETWORKS:
    stat['p'] = p_lower(-excess, -null)
  return stat
