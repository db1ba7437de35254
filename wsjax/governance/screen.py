"""Screens of networks before anybody uses them: are they finite, and like the others of their kind.

A screen that finds nothing is no proof: it says that this screen found nothing.
"""

import dataclasses

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from wsjax import networks, typing
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib

# Statistics of each parameter; those of matrices alone come last.
STATISTICS = (
  'log norm', 'mean', 'kurtosis', 'largest value', 'share of zeros', 'log spectral norm',
  'stable rank',
)  # fmt: skip
_MOST = 1 << 22  # Weights of a network whose low bits are looked at.
FEWEST = 20  # Networks of a population that has quantiles.
# A robust deviation is at least this, in the units of each statistic: where nearly all networks of
# a population have one value, a network that differs by rounding is no outlier.
_FLOOR = (0.02, 0.02, 0.05, 0.1, 0.02, 0.02, 0.02)
_MAD = 1.4826  # Median absolute deviation of a normal distribution with deviation 1.


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
  balanced = canonicalize.balance_all(params, spec)
  names, columns = [], []
  for path, value in balanced.items():
    array = np.asarray(value, np.float64)
    if not array.size:
      continue
    flat = array.reshape(len(array), -1)
    norm = np.linalg.norm(flat, axis=1)
    rms = np.maximum(norm / np.sqrt(flat.shape[1]), 1e-30)
    found = [
      np.log(rms),
      flat.mean(axis=1) / rms,
      np.log1p(np.mean((flat / rms[:, None]) ** 4, axis=1)),
      np.log(np.maximum(np.abs(flat).max(axis=1), 1e-30) / rms),
    ]
    if array.ndim > 2:  # Biases of units that never fire stay at the zero they began with.
      found.append(np.mean(flat == 0, axis=1))
    if array.ndim == 3 and min(array.shape[1:]) > 1:
      spectral = np.linalg.norm(array, ord=2, axis=(1, 2))
      ratio = np.maximum(norm, 1e-30) / np.maximum(spectral, 1e-30)
      found += [np.log(np.maximum(spectral, 1e-30)), np.log(ratio)]
    columns += found
    names += [f'{path}: {name}' for name in STATISTICS[: len(found)]]
  return names, np.stack(columns, axis=1)


def outliers(
  params: typing.StackedParams, population: typing.StackedParams | None, spec: spec_lib.Spec
) -> Outliers:
  """Compares networks with a population by robust z-scores of their statistics.

  Args:
    params: path -> [n, ...] weights.
    population: path -> [m, ...] weights of at least `FEWEST` networks; None compares the networks
      with themselves, of which fewer than half may be outliers.
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
  reference = values if population is None else statistics(others, spec)[1]
  median = np.median(reference, axis=0)
  floor = np.array([_FLOOR[STATISTICS.index(name.rpartition(': ')[2])] for name in names])
  scale = np.maximum(_MAD * np.median(np.abs(reference - median), axis=0), floor)
  scores = np.abs(values - median) / scale
  z[finite] = scores.max(axis=1)
  for row, column in zip(np.flatnonzero(finite), scores.argmax(axis=1), strict=True):
    worst[row] = names[column]
  return Outliers(z, worst)


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
