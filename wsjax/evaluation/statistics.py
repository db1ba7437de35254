"""Intervals for the choice of networks, training seeds and test items.

A resample is written as weights: how often each network (or item) was drawn. Every statistic here
is then a weighted one, all resamples are rows of one matrix product, and all methods of a report
share the resampled items, so that their differences are paired.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import scipy.stats

from wsjax.evaluation import metric

LEVEL = 0.95
JACKKNIFE_BLOCKS = 20

Window = tuple[float, float] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Resampler:
  """Bootstrap weights from one seed.

  Attributes:
    num_items: test items n; 0 if only networks are resampled.
    num_bootstrap: resamples B.
    seed: of the draws.
  """

  num_items: int = 0
  num_bootstrap: int = 2000
  seed: int = 0

  @functools.cached_property
  def items(self) -> np.ndarray:
    """[B, n] how often each item was drawn, rows divided by n."""
    rng = np.random.default_rng([self.seed, 1])
    totals = np.full(self.num_bootstrap, self.num_items)
    return _draws(rng, totals, self.num_items) / np.float32(self.num_items)

  def networks(self, groups: np.ndarray) -> np.ndarray:
    """[B, N] float32 weights of networks, drawn within seeds [N] that are drawn first."""
    groups = np.asarray(groups)
    key = tuple(groups.tolist())
    if key not in self._cache:
      if len(self._cache) > 3:
        self._cache.clear()  # The method before is done.
      self._cache[key] = self._network_weights(groups)
    return self._cache[key]

  @functools.cached_property
  def _cache(self) -> dict[tuple[float, ...], np.ndarray]:
    return {}

  def _network_weights(self, groups: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng([self.seed, 2])
    labels, sizes = np.unique(groups, return_counts=True)
    drawn = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), self.num_bootstrap)
    weights = np.zeros((self.num_bootstrap, len(groups)), np.float32)
    for number, (label, size) in enumerate(zip(labels, sizes, strict=True)):
      weights[:, groups == label] = _draws(rng, drawn[:, number] * size, size)
    return weights / weights.sum(axis=1, keepdims=True)


def _draws(rng: np.random.Generator, totals: np.ndarray, n: int) -> np.ndarray:
  """[B, n] float32: totals[b] draws among n, counted."""
  counts = np.empty((len(totals), n), np.float32)
  for row, total in enumerate(totals):
    counts[row] = np.bincount(rng.integers(n, size=total), minlength=n)
  return counts


def window_mean(
  values: np.ndarray, low: float = 0.0, high: float = 1.0, *, weights: np.ndarray | None = None
) -> np.ndarray:
  """Mean of the part of values [N] between two quantiles; a value on the edge counts for its part.

  (1/4, 3/4) is the interquartile mean, (0, 1/10) the mean of the worst decile.

  Args:
    values: [N].
    low: quantile where the window starts.
    high: quantile where it ends, above `low`.
    weights: [B, N], rows sum to 1, for a result [B]; None weighs all alike, for a scalar array.

  Source: Agarwal et al. 2021, arXiv:2108.13264 (interquartile mean).
  """
  order = np.argsort(values, kind='stable')
  if weights is None:
    weights = np.full(len(values), 1 / len(values))
  ends = np.cumsum(weights[..., order], axis=-1, dtype=np.float64)
  ends = np.concatenate([np.zeros_like(ends[..., :1]), ends], axis=-1)
  inside = np.diff(np.clip(ends / ends[..., -1:], low, high), axis=-1)
  return inside @ values[order].astype(np.float64) / (high - low)


def median(values: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
  """[B] median of values [N] under weights [B, N], or a scalar array as NumPy's without."""
  half = (1.0 if len(values) % 2 == 0 else 0.5) / len(values)
  return window_mean(values, 0.5 - half, 0.5 + half, weights=weights)


def stat(value: float, resamples: np.ndarray | None, *, n: int, method: str) -> metric.Stat:
  """A number of the report with its percentile interval; no value if it is not finite.

  Args:
    value: the estimate.
    resamples: [B] the statistic on resamples, not finite where it is not defined; None for no
      interval.
    n: number of networks behind it.
    method: what was resampled.
  """
  if not math.isfinite(value):
    return not_run('not finite')
  low = high = None
  defined = np.empty(0) if resamples is None else resamples[np.isfinite(resamples)]
  if len(defined) and n > 1:
    tail = (1 - LEVEL) / 2
    low, high = map(float, np.quantile(defined, [tail, 1 - tail]))
  else:
    method = 'none'
  return {'value': float(value), 'low': low, 'high': high, 'n': n, 'method': method}


def exact(value: float, n: int) -> metric.Stat:
  """A number of the report of n networks, without an interval."""
  return stat(value, None, n=n, method='none')


def not_run(reason: str) -> metric.Stat:
  """A number of the report that was not measured."""
  return {'value': None, 'not_run': reason}


def over_networks(
  values: np.ndarray, groups: np.ndarray, resampler: Resampler, *, window: Window = (0.0, 1.0)
) -> metric.Stat:
  """A statistic of finite values [N], networks resampled within training seeds `groups` [N].

  The window is the quantiles whose mean is taken, see `window_mean`; None takes the median.
  """
  keep = np.isfinite(values)
  values, groups = np.asarray(values, np.float64)[keep], groups[keep]
  if not len(values):
    return not_run('no network has a finite value')
  weights = resampler.networks(groups)
  if window is None:
    value, resamples = median(values), median(values, weights=weights)
  else:
    value = window_mean(values, *window)
    resamples = window_mean(values, *window, weights=weights)
  method = method_name('bootstrap', groups)
  return stat(float(value), resamples, n=len(values), method=method)


def two_way(table: np.ndarray, groups: np.ndarray, resampler: Resampler) -> metric.Stat:
  """Mean of a table of networks x items [N, n], both resampled; `groups` [N] are seeds.

  The interval is conservative: the noise of single cells enters through both factors.

  Source: Owen 2007, 'The pigeonhole bootstrap', arXiv:0712.1111.
  """
  table = np.asarray(table, np.float32)
  value = float(np.mean(table, dtype=np.float64))
  resamples = two_way_means(table, groups, resampler)
  method = method_name('two-way', groups)
  return stat(value, resamples, n=len(table), method=method)


def two_way_means(table: np.ndarray, groups: np.ndarray, resampler: Resampler) -> np.ndarray:
  """[B] means of a table [N, n] over resampled networks and items."""
  per_item = resampler.networks(groups) @ np.asarray(table, np.float32)
  return np.einsum('bi,bi->b', per_item, resampler.items)


def over_seeds(
  statistic: Callable[[int, np.ndarray], float],
  num_seeds: int,
  num_networks: int,
  num_bootstrap: int,
  seed: int,
) -> metric.Stat:
  """Mean over training seeds of any statistic of networks; both are resampled.

  The statistic, (training seed, rows of networks) -> number, is not finite where it is not defined.
  Every call with one `seed` resamples the same of the n = `num_networks` networks.

  Returns:
    The number with 'per_seed'; no value, and None for the seed, if a seed has none.
  """
  rows = np.random.default_rng([seed, 1]).integers(num_networks, size=(num_bootstrap, num_networks))
  drawn = np.random.default_rng([seed, 2]).integers(num_seeds, size=(num_bootstrap, num_seeds))
  with np.errstate(divide='ignore', invalid='ignore'):
    per_seed = [float(statistic(s, np.arange(num_networks))) for s in range(num_seeds)]
    pairs = zip(rows, drawn, strict=True)
    resamples = np.array([np.mean([statistic(s, nets) for s in seeds]) for nets, seeds in pairs])
  method = 'bootstrap-nets' + ('-seeds' if num_seeds > 1 else '')
  entry = stat(float(np.mean(per_seed)), resamples, n=num_networks, method=method)
  undefined = sum(not math.isfinite(each) for each in per_seed)
  if undefined:
    entry = not_run(f'not defined for {undefined} of {num_seeds} training seeds')
  return entry | {'per_seed': finite(per_seed)}


def paired(values: Sequence[float], others: Sequence[float]) -> metric.Stat:
  """Mean difference values - others [s] over training seeds that both share, with a t interval.

  What a seed does to both cancels. Of one seed there is a difference and no interval.
  """
  from scipy import stats  # Slow to import.

  gaps = np.subtract(values, others, dtype=np.float64)
  if not len(gaps) or not np.isfinite(gaps).all():
    return not_run('not defined for every training seed')
  entry = stat(float(gaps.mean()), None, n=len(gaps), method='none')
  if len(gaps) > 1:
    half = stats.t.ppf((1 + LEVEL) / 2, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    low, high = float(gaps.mean() - half), float(gaps.mean() + half)
    entry |= {'low': low, 'high': high, 'method': 'paired-t-seeds'}
  return entry | {'per_seed': finite(gaps)}


def jackknife(
  statistic: Callable[[np.ndarray, np.ndarray], float],
  samples: np.ndarray,
  real: np.ndarray,
  *,
  bounds: tuple[float, float] = (-np.inf, np.inf),
  num_blocks: int = JACKKNIFE_BLOCKS,
) -> metric.Stat:
  """Mean over training seeds of a statistic that compares two sets as wholes.

  A bootstrap draws a network twice, which is then its own nearest neighbour; the jackknife only
  leaves networks out, block by block of the samples of all seeds and of the real set. The variance
  between training seeds is added, although part of it is the choice of samples again: the interval
  is rather too wide.

  Args:
    statistic: (samples [m, f], real [m, f]) -> number. Compare methods of one m only where its mean
      depends on m, as that of a maximum does.
    samples: [S, n, f] of S training seeds.
    real: [n, f] what they are compared with.
    bounds: of the statistic; no interval goes beyond.
    num_blocks: blocks, if there are as many samples.

  Returns:
    The number with 'per_seed'; no interval for one sample.

  Source: Kott 2001, J. Off. Stat. 17:521 (delete-a-group jackknife).
  """
  num_seeds, n = samples.shape[:2]
  num_blocks = min(num_blocks, n)
  block = np.arange(n) * num_blocks // n

  def value(keep: np.ndarray) -> list[float]:
    return [float(statistic(each[keep], real[keep])) for each in samples]

  per_seed = value(np.ones(n, bool))
  mean = float(np.mean(per_seed))
  if not math.isfinite(mean):
    return not_run('not finite') | {'per_seed': finite(per_seed)}
  low = high = None
  if num_blocks > 1:
    without = [np.mean(value(block != number)) for number in range(num_blocks)]
    variance = (num_blocks - 1) * np.var(without)
    if num_seeds > 1:
      variance += np.var(per_seed, ddof=1) / num_seeds
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, num_blocks - 1) * np.sqrt(variance))
    if math.isfinite(half):
      low, high = max(mean - half, bounds[0]), min(mean + half, bounds[1])
  method = 'none' if low is None else 'jackknife' + ('-seeds' if num_seeds > 1 else '')
  return {
    'value': mean, 'low': low, 'high': high, 'n': num_seeds * n, 'method': method,
    'per_seed': per_seed,
  }  # fmt: skip


def finite(values: Iterable[float]) -> list[float | None]:
  """Floats for JSON, None for those that are not finite."""
  return [float(value) if math.isfinite(value) else None for value in values]


def rate(hits: np.ndarray) -> metric.Stat:
  """Share of `hits` [N] with its exact binomial interval, for independent networks.

  Source: Clopper and Pearson 1934, Biometrika 26:404.
  """
  test = scipy.stats.binomtest(int(np.sum(hits)), len(hits))
  interval = test.proportion_ci(LEVEL, method='exact')
  return {
    'value': float(np.mean(hits)), 'low': float(interval.low), 'high': float(interval.high),
    'n': len(hits), 'method': 'clopper-pearson',
  }  # fmt: skip


def holm(p_values: np.ndarray) -> np.ndarray:
  """P-values [m] corrected: rejecting at 0.05 has any false alarm with a chance of at most 0.05.

  Raises:
    ValueError: if one is not in [0, 1].

  Source: Holm 1979, Scand. J. Statist. 6:65.
  """
  p = np.asarray(p_values, np.float64)
  if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
    raise ValueError(f'p_values must be [m] numbers in [0, 1]; got {p}.')
  order = np.argsort(p, kind='stable')
  scaled = p[order] * np.arange(len(p), 0, -1)
  adjusted = np.empty_like(p)
  adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
  return adjusted


def method_name(name: str, groups: np.ndarray) -> str:
  """Name of a method of resampling, saying so if seeds are resampled too."""
  suffix = '-nets' if name == 'bootstrap' else ''
  return name + ('-seeds' if len(np.unique(groups)) > 1 else '') + suffix
