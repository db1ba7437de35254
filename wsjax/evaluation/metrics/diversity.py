"""Diversity: do the networks of a method differ from each other as those of the zoo do?

Spread and size are those of canonical forms: otherwise the spread of the zoo is mostly the order of
its neurons.
"""

import numpy as np

from wsjax.evaluation import methods, neighbours, predictions, statistics
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.metrics import copying, fidelity
from wsjax.evaluation.reference import Reference

GROUP = 'Diversity'
# Candidates for the nearest other network of a method: nearest, far side, similar in function.
_OTHERS = (4, 0, 2)


def agreement(labels: np.ndarray) -> np.ndarray:
  """[N, N] share of items on which two networks predict one class, from classes [N, n]."""
  count = np.zeros((len(labels), len(labels)))
  for value in np.unique(labels):  # Classes, not networks.
    chosen = (labels == value).astype(np.float32)
    count += chosen @ chosen.T
  return count / labels.shape[1]


def mean_disagreement(agree: np.ndarray, error: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
  """[B] mean disagreement of pairs of different networks over the mean error rate.

  Division by the error rate makes networks of unequal accuracy comparable. It is infinite where no
  network errs, NaN where one network was drawn N times.

  Args:
    agree: [N, N] from `agreement`.
    error: [N] error rates.
    weights: [B, N], rows sum to 1; pairs of a network with itself are left out.

  Source: Fort et al. 2019, arXiv:1912.02757, section 4.1.
  """
  weights = np.asarray(weights, np.float64)
  differ = np.einsum('bi,bi->b', weights @ (1 - agree), weights)
  pairs = 1 - np.sum(weights**2, axis=1)
  with np.errstate(divide='ignore', invalid='ignore'):
    return differ / pairs / (weights @ error)


def gram(vectors: np.ndarray) -> np.ndarray:
  """[N, N] inner products of N centred vectors [N, d], divided by d."""
  centred = vectors - vectors.mean(axis=0, keepdims=True, dtype=np.float64)
  centred = centred.astype(np.float32)
  return (centred @ centred.T).astype(np.float64) / vectors.shape[1]


def dispersion(products: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
  """[B] root mean square over coordinates of the standard deviation over networks.

  Args:
    products: [N, N] from `gram`.
    weights: [B, N], rows sum to 1; None weighs all alike, for a scalar array.
  """
  count = len(products)
  if weights is None:
    weights = np.full(count, 1 / count)
  mean_square = weights @ np.diag(products)
  square_mean = np.sum((weights @ products) * weights, axis=-1)
  variance = np.maximum(mean_square - square_mean, 0)
  return np.sqrt(variance * count / (count - 1))


@once
def products(method: Sample) -> np.ndarray:
  """`gram` of the canonical forms."""
  return gram(copying.vectors(method))


@once
def root_mean_square(method: Sample) -> float:
  """Root mean square of all weights of the canonical forms."""
  return float(np.sqrt(np.mean(np.square(copying.vectors(method), dtype=float))))


@once
def spacing(method: Sample) -> np.ndarray:
  """[N] quotient distance of finite networks to the nearest other one; NaN of a single network."""
  if method.is_zoo:
    return copying.around(method).distance
  count = len(method.networks)
  if count < 2:
    return np.full(count, np.nan)
  return neighbours.search(
    method.canonical,
    method.canonical,
    method.reference.architecture.spec,
    predictions.error_iou(~method.correct, ~method.correct),
    excluded=np.arange(count),
    seed=method.reference.seed,
    counts=_OTHERS,
  ).distance


@once
def to_centre(method: Sample) -> np.ndarray:
  """[N] distance of canonical forms to the mean of the training networks."""
  mean = fidelity.projection(method.reference, 'weights').mean
  return np.linalg.norm(copying.vectors(method) - mean[None], axis=1)


@metric('dispersion ratio', '.2f', heading='spread / zoo')
def rms_ratio(method: Sample, reference: Reference) -> Stat:
  """Spread of the canonical weights over that of the zoo: 0 is a collapse to the mean, 1 is the
  zoo.
  """
  finite = method.finite
  if len(finite.networks) < 2:
    raise NotRun('one network has no spread')
  unit = float(dispersion(products(methods.zoo(reference, None))))
  resamples = dispersion(products(finite), weights=finite.resampler.networks(finite.groups))
  return statistics.stat(
    float(dispersion(products(finite))) / unit,
    resamples / unit,
    n=len(finite.networks),
    method=statistics.method_name('bootstrap', finite.groups),
  )


@metric('weight size ratio', '.2f', heading='size / zoo')
def norm_ratio(method: Sample, reference: Reference) -> Stat:
  """Root mean square of the canonical weights over that of the zoo."""
  finite = method.finite
  sizes = np.sqrt(np.mean(np.square(copying.vectors(finite), dtype=np.float64), axis=1))
  return finite.over_networks(sizes / root_mean_square(methods.zoo(reference, None)))


@metric('disagreement over error', '.2f', better='higher', heading='disagree / error')
def disagreement(method: Sample, reference: Reference) -> Stat:
  """Share of items on which two networks of the method predict different classes, divided by their
  mean error rate: 0 for copies of one network.
  """
  count = len(method.networks)
  if count < 2:
    raise NotRun('one network has no pair')
  agree = agreement(method.predicted.labels)
  error = 1 - np.mean(method.correct, axis=1, dtype=np.float64)
  return statistics.stat(
    mean_disagreement(agree, error, weights=np.full((1, count), 1 / count))[0],
    mean_disagreement(agree, error, weights=method.resampler.networks(method.groups)),
    n=count,
    method=statistics.method_name('bootstrap', method.groups),
  )


@metric('Vendi score ratio', '.2f', better='higher', heading='Vendi / held-out')
def vendi_ratio(method: Sample, reference: Reference) -> Stat:
  """Effective number of networks by their outputs on test items, over that of equally many held-out
  networks.
  """
  return fidelity.comparison(method.finite)['vendi_ratio']


@metric('distance to nearest other sample', '.2f', better='higher', heading='other sample τ',
        unit='tau')  # fmt: skip
def self_distance(method: Sample, reference: Reference) -> Stat:
  """Median quotient distance to the nearest other network of the method. Near 0: one network and
  noise, new or not.
  """
  tau, finite = reference.thresholds.tau, method.finite
  stat = finite.over_networks(spacing(finite) / tau, None)
  # Of other samples it depends on their number, too: no test.
  return copying.beside_heldout(stat, lambda sample: spacing(sample) / tau, method, test=False)


@metric('distance to the mean', '.2f', heading='to mean / zoo',
        flag='nearer to the mean of the zoo than fresh runs')  # fmt: skip
def centre_distance(method: Sample, reference: Reference) -> Stat:
  """Median distance of canonical forms to the mean of the zoo, over that of the training networks:
  0 is a collapse to the mean.
  """
  unit, finite = np.median(to_centre(methods.zoo(reference, None))), method.finite
  stat = finite.over_networks(to_centre(finite) / unit, None)
  return copying.beside_heldout(stat, lambda sample: to_centre(sample) / unit, method)
