"""Flags: reasons to distrust a method, from all numbers that were measured of it.

Numbers of single networks name the way in which samples were made: each sample gets the first name
that fits, and a name is a flag when more samples have it than honest generators do by chance. Every
metric that has a p-value and names a flag is a test with held-out runs as its null, corrected so
that an honest method has any such flag with probability 1 %. No flag does not prove novelty: flags
name what was planted in tests and found.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.report import model

LEVEL = 0.01  # Probability of any flag by tests for an honest method.
# Distance over tau below which a sample is an exact copy up to symmetry: float32 leaves 1e-3.
EXACT = 0.01
# Least share of samples with a name, at the lower end of the interval. Exact copies do not happen
# by chance; a distance below the 1 % quantile of a few dozen held-out networks does, now and then.
COPIES, SAMPLES = 0.01, 0.1
# Hull residual below which a sample is a blend, as a share of the median of held-out networks.
BLEND = 0.5
# Hull residual from which a sample is a neighbour and noise, since noise points away from all
# others: 0 is the median of held-out networks, 1 a sample to which no blend is nearer.
NOISE = 0.5
# Distance to the nearest other sample, as a share of the median of held-out networks.
CROWDED = 0.5
# Spread and distance to the mean, over those of the zoo. Averages of k networks have 1 / sqrt(k) of
# both, so this is the mean of eleven.
COLLAPSED = 0.3
# Accuracy below which a sample does not work: 0 is chance, 1 the threshold of the gates.
WORKING = 0.5


class Test(NamedTuple):
  """A test of a method: its metric, its number, and its p-value corrected for all tests."""

  metric: metric_lib.Metric
  stat: Mapping[str, Any]
  p: float

  @property
  def evidence(self) -> str:
    """The number beside that of held-out runs."""
    text = f'{self.metric.label} {self.metric.with_unit(self.stat["value"])}'
    if 'heldout' in self.stat:
      text += f' (fresh runs: {self.metric.with_unit(self.stat["heldout"])})'
    return text


def tests(
  stats: Mapping[str, Mapping[str, Any]], metrics: Iterable[metric_lib.Metric]
) -> list[Test]:
  """Every test of `stats`, metric -> number, the least p-value first, corrected (Holm).

  Metrics with a `flag` whose number has a p-value are tests.
  """
  run = [
    (metric, stats[metric.name])
    for metric in metrics
    if metric.flag and 'p' in stats.get(metric.name, {})
  ]
  adjusted = statistics.holm(np.array([stat['p'] for _, stat in run]))
  found = [Test(*pair, float(p)) for pair, p in zip(run, adjusted, strict=True)]
  return sorted(found, key=lambda test: test.p)


def working_threshold(chance: float, accuracy: float) -> float:
  """Accuracy halfway from chance to the threshold of the gates; below, a sample does not work."""
  return chance + WORKING * (accuracy - chance)


def find(
  row: model.Row, threshold: float, metrics: Iterable[metric_lib.Metric] = ()
) -> list[dict[str, str]]:
  """Flags of one method, each with its name and, as evidence, the numbers behind it.

  Args:
    row: numbers of the method and of its networks.
    threshold: accuracy that a network which works at all has.
    metrics: declarations of the metrics. The zoo itself is not tested: it is no method.
  """
  found = []
  working = _numbers(row, 'accuracy') >= threshold
  if np.mean(working) < 0.5:
    found.append(
      ('not working', f'{_share(~working)} of samples are below {100 * threshold:.0f} % accuracy, '
       'halfway from chance to the zoo')
    )  # fmt: skip
  found += _by_networks(row)
  if row.kind != 'reference':
    groups: dict[str, list[Test]] = {}
    run = tests(row.stats, metrics)
    for test in run:
      if test.p <= LEVEL:
        groups.setdefault(test.metric.flag, []).append(test)
    for name, members in groups.items():
      text = '; '.join(test.evidence for test in members)
      p = max(test.p for test in members)
      p_text = 'p < 0.001' if p < 0.001 else f'p ≤ {p:.3f}'
      found.append((name, f'{text}; {p_text} after correction for {len(run)} tests'))
  return [{'name': name, 'evidence': text} for name, text in found]


def _by_networks(row: model.Row) -> list[tuple[str, str]]:
  """Flags from the numbers of single networks."""
  names = _names(row)
  if names is None:
    return []
  found = []
  for name, least, text in (
    ('copies', COPIES, f'are nearer than {EXACT:g} τ to a network of the training set'),
    ('copies with noise', SAMPLES,
     'are nearer to a training network than 99 % of held-out runs, and no blend is nearer'),
    ('averages neighbours', SAMPLES,
     f'have less than {BLEND:g} of the distance of held-out runs to the hull of their neighbours'),
    ('one mode', SAMPLES,
     f'are new, and nearer to another sample than {CROWDED:g} of the distance between held-out '
     'runs'),
  ):  # fmt: skip
    hits = names == name
    if hits.any() and statistics.rate(hits)['low'] >= least:
      found.append((name, f'{_share(hits)} of {len(names)} samples {text}'))
  spread, centre = (row.stats[key]['value'] for key in ('rms_ratio', 'centre_distance'))
  if None not in (spread, centre) and max(spread, centre) < COLLAPSED:
    found = [entry for entry in found if entry[0] != 'one mode']
    text = f'{spread:.2f} of the spread of the zoo, at {centre:.2f} of the distance of its networks'
    found.append(('collapsed to the mean', f'{text} from their mean'))
  return found


def _names(row: model.Row) -> np.ndarray | None:
  """[N] name of each finite sample, '' for none; None if nothing is known."""
  if 'hull_residual' not in row.per_network:
    return None
  known = np.isfinite(_numbers(row, 'canonical_novelty'))
  distance, residual, spacing, shown = (
    _numbers(row, key)[known]
    for key in ('canonical_novelty', 'hull_residual', 'self_distance', 'shown')
  )
  metrics = row.stats
  names = np.full(len(distance), '', dtype=object)

  def name(which: np.ndarray, text: str) -> None:
    names[which & (names == '')] = text

  # Up to symmetry, and of snapshots of the training runs, too.
  name((distance < EXACT) | (shown < EXACT), 'copies')
  near = metrics['replica_rate'].get('threshold')
  honest = metrics['hull_residual'].get('heldout')
  if None not in (near, honest):
    replicas = distance < near
    name(replicas & (residual < BLEND * honest), 'averages neighbours')
    name(replicas & (residual > honest + NOISE * (1 - honest)), 'copies with noise')
  apart = metrics['self_distance'].get('heldout')
  if apart is not None:
    name(spacing < CROWDED * apart, 'one mode')
  return names


def _numbers(row: model.Row, key: str) -> np.ndarray:
  """[N] numbers of the networks, NaN where there is none."""
  return np.array(row.per_network[key], float)


def _share(hits: np.ndarray) -> str:
  return f'{100 * np.mean(hits):.0f} %'
