"""Screens of networks before anybody uses them: are they finite, and like the others of their kind.

A screen that finds nothing is no proof: it says that this screen found nothing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from wsjax import networks, typing
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib

_MOST = 1 << 22  # Weights of a network whose low bits are looked at.
_FEW = 8  # Values of a parameter whose mean and largest value say little more than their signs.
_AT_ONCE = 128  # Networks whose statistics are computed together.
FEWEST = 20  # Networks of a population that has quantiles.
# Statistics of each parameter. A robust deviation is at least this, in the units of each: where
# nearly all networks of a population have one value, a network that differs by rounding is no
# outlier.
_FLOOR = {
  'log norm': 0.02, 'mean': 0.02, 'kurtosis': 0.05, 'largest value': 0.1, 'share of zeros': 0.02,
  'log spectral norm': 0.02, 'stable rank': 0.02,
}  # fmt: skip
_BULK = 0.9  # Share of the networks on a side of the median that are no outliers.


@dataclasses.dataclass(frozen=True, eq=False)
class Outliers:
  """How far networks are from a population.

  Attributes:
    z: [N] largest robust z-score of any statistic of any parameter; infinite if not finite.
    worst: [N] which one it is.
  """

  z: Float[np.ndarray, ' n']
  worst: list[str]


def statistics(
  params: typing.StackedParams, spec: spec_lib.Spec
) -> tuple[list[str], Float[np.ndarray, 'n features']]:
  """Statistics of every parameter of networks, after their scales are balanced.

  They do not depend on the order of units, and after balancing not on their scales.

  Args:
    params: path -> [n, ...] finite weights.
    spec: their symmetry.

  Returns:
    Names, 'PATH: STATISTIC', and values.
  """
  count = networks.length(params)
  parts = []
  for start in range(0, count, _AT_ONCE):
    part = {path: value[start : start + _AT_ONCE] for path, value in params.items()}
    names, values = _statistics(canonicalize.balance_all(_filled(part, count), spec))
    parts.append(values[: count - start])
  return names, np.concatenate(parts)


def _filled(params: typing.StackedParams, count: int) -> typing.StackedParams:
  """The last networks of many, with copies of the first of them, so that one shape is compiled."""
  missing = _AT_ONCE - networks.length(params)
  if count < _AT_ONCE or not missing:
    return params
  first = {path: np.repeat(value[:1], missing, axis=0) for path, value in params.items()}
  return {path: np.concatenate([value, first[path]]) for path, value in params.items()}


def _statistics(
  balanced: typing.StackedParams,
) -> tuple[list[str], Float[np.ndarray, 'n features']]:
  names, columns = [], []
  for path, array in balanced.items():
    array = np.asarray(array, np.result_type(array, np.float32))
    if not array.size:
      continue
    flat = array.reshape(len(array), -1)
    largest = np.abs(flat).max(axis=1)
    is_zero = largest == 0
    scaled = flat / np.where(is_zero, 1, largest)[:, None]  # Powers stay in range.
    squares = np.square(scaled)
    rms = np.where(is_zero, 1, np.sqrt(squares.mean(axis=1)))
    found = {'log norm': np.log(np.maximum(largest * rms, 1e-30))}
    if flat.shape[1] >= _FEW:
      squares /= np.square(rms)[:, None]
      found |= {
        'mean': scaled.mean(axis=1) / rms,
        'kurtosis': np.log1p(np.square(squares, out=squares).mean(axis=1)),
        'largest value': -np.log(rms),
      }
    if array.ndim > 2:  # Biases of units that never fire stay at the zero they began with.
      found['share of zeros'] = 1 - np.count_nonzero(flat, axis=1) / flat.shape[1]
    if array.ndim == 3 and min(array.shape[1:]) > 1:
      found['log spectral norm'], found['stable rank'] = _spectra(array)
    columns += found.values()
    names += [f'{path}: {name}' for name in found]
  return names, np.stack(columns, axis=1).astype(np.float64)


def _spectra(
  matrices: Float[np.ndarray, 'n rows columns'],
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
  """Log of the largest singular values, and of the Frobenius norm over them.

  The smaller Gram matrix to the power of 512, by squaring it in turn, leads to the first singular
  vector, in a quarter of the time of all eigenvalues. Where the two largest singular values differ
  by less than a percent, the result may be too small by 1e-4 of itself.
  """
  scale = np.maximum(np.abs(matrices).max(axis=(1, 2)), 1e-30)  # Squares stay in range.
  scaled = matrices / scale[:, None, None]
  turned = scaled.swapaxes(1, 2)
  gram = turned @ scaled if matrices.shape[1] > matrices.shape[2] else scaled @ turned
  square = np.trace(gram, axis1=1, axis2=2)  # Of the Frobenius norm.
  power, following = gram.copy(), np.empty_like(gram)
  for count in range(9):
    if count % 3 == 0:  # The largest eigenvalue is at least 1 / rows again.
      trace = np.trace(power, axis1=1, axis2=2)
      power /= np.where(trace > 0, trace, 1)[:, None, None]
    np.matmul(power, power, out=following)
    power, following = following, power
  rows = np.diagonal(power, axis1=1, axis2=2).argmax(axis=1)
  vectors = power[np.arange(len(power)), rows]
  length = np.linalg.norm(vectors, axis=1)
  image = np.linalg.norm((gram @ vectors[:, :, None])[:, :, 0], axis=1)
  largest = np.where(length > 0, image / np.where(length > 0, length, 1), 1e-30)
  spectral = np.log(np.maximum(scale * np.sqrt(largest), 1e-30))
  return spectral, np.where(square > 0, np.log(np.maximum(square, 1e-30) / largest) / 2, 0)


def outliers(
  params: typing.StackedParams, population: typing.StackedParams | None, spec: spec_lib.Spec
) -> Outliers:
  """Compares networks with a population by robust z-scores of their statistics.

  Args:
    params: path -> [n, ...] weights.
    population: path -> [m, ...] weights of at least `FEWEST` networks; None compares the networks
      with themselves, of which at most one in twenty may be outliers.
    spec: symmetry of both.

  Raises:
    ValueError: if there are too few networks to compare with.
  """
  finite = networks.Networks(dict(params), spec).finite()
  usable = networks.take(params, finite)
  z, worst = np.full(len(finite), np.inf), ['not finite'] * len(finite)
  others = usable
  if population is not None:
    keep = networks.Networks(dict(population), spec).finite()
    others = networks.take(population, keep)
  count = networks.length(others)
  if count < FEWEST:
    raise ValueError(f'{count} networks to compare with; at least {FEWEST} are needed.')
  if not finite.any():
    return Outliers(z, worst)
  names, values = statistics(usable, spec)
  found = compare(names, values, values if population is None else statistics(others, spec)[1])
  z[finite] = found.z
  for row, name in zip(np.flatnonzero(finite), found.worst, strict=True):
    worst[row] = name
  return Outliers(z, worst)


def compare(
  names: Sequence[str],
  values: Float[np.ndarray, 'n features'],
  reference: Float[np.ndarray, 'm features'],
) -> Outliers:
  """Robust z-scores of `statistics` of n networks among those of m.

  Statistics of honest networks are skewed, have heavy tails, or differ between recipes. So either
  side of the median has a scale of its own: that of the normal distribution whose half, or whose
  `_BULK`, of deviations is as wide as here, the larger of both.
  """
  median = np.median(reference, axis=0)
  floor = np.array([_FLOOR[name.rpartition(': ')[2]] for name in names])
  scores = np.zeros(values.shape)
  for side in (1, -1):
    gaps = side * (reference - median)
    gaps = np.where(gaps >= 0, gaps, np.nan)
    widths = [
      np.nanquantile(gaps, share, axis=0, method='lower') / scipy.stats.norm.ppf((1 + share) / 2)
      for share in (0.5, _BULK)
    ]
    scores = np.maximum(scores, side * (values - median) / np.maximum.reduce([*widths, floor]))
  return Outliers(scores.max(axis=1), [names[column] for column in scores.argmax(axis=1)])


def low_bits(params: typing.StackedParams) -> Float[np.ndarray, ' n']:
  """p-value of each network that its low bits are random, as training in float32 leaves them.

  A payload of text or code in the lowest byte of every weight has another distribution of bytes; an
  encrypted one has not, and is not found. Networks whose lowest bytes are all zero, as after
  rounding to bfloat16, give 1.

  Args:
    params: path -> [n, ...] weights; only those of dtype float32 are looked at.

  Source: Pearson's chi-squared test of the 256 values of the lowest byte.
  """
  chosen = [np.asarray(x) for x in params.values() if np.asarray(x).dtype == np.float32]
  p = np.ones(networks.length(params))
  for row in range(len(p) if chosen else 0):
    weights = np.concatenate([array[row].ravel() for array in chosen])[:_MOST]
    values = (weights.view(np.uint32) & 255)[weights != 0]
    if len(values) >= 256 and values.any():
      bins = 256 if len(values) >= 1280 else 16  # At least five expected in each.
      p[row] = scipy.stats.chisquare(np.bincount(values * bins // 256, minlength=bins)).pvalue
  return p


def collapsed(predictions: np.ndarray, num_classes: int, share: float) -> Bool[np.ndarray, ' n']:
  """Whether networks give one class to a larger share of inputs: classes [n, items] in, [n] out."""
  counts = np.stack([(predictions == c).mean(axis=1) for c in range(num_classes)])
  return counts.max(axis=0) > share
