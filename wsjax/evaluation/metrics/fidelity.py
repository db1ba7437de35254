"""Fidelity: are weights and functions distributed as those of further runs?

Sets are compared in principal components of the training networks: 'weights' are canonical forms,
'functional' is logits on test items.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, neighbours, predictions, statistics, two_sample
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Better, Metric, NotRun, Stat, metric
from wsjax.evaluation.metrics import copying
from wsjax.evaluation.reference import Reference

SPACES = ('weights', 'functional')
# Flag that a small p-value raises.
_UNLIKE = 'not distributed as fresh runs'
# Bins of a histogram; weights outside these quantiles of the zoo are not drawn.
_NUM_BINS = 40
_RANGE = (0.001, 0.999)
_MAX_VALUES = 500_000


@once
def vectors(method: Sample, space: str) -> np.ndarray:
  """[N, d] finite networks as vectors of a space."""
  if space == 'weights':
    return copying.vectors(method)
  reference = method.reference
  return predictions.outputs_on_probes(reference.architecture, method.params, reference.test_x)


@once
def projection(reference: Reference, space: str) -> neighbours.Projection:
  """Principal components of the training networks."""
  return neighbours.fit(vectors(methods.zoo(reference, None), space))


@once
def features(method: Sample, space: str) -> np.ndarray:
  """[N, f] finite networks in principal components."""
  return projection(method.reference, space)(vectors(method, space))


@once
def width(reference: Reference, space: str) -> float:
  """Width of the kernel of a space: median distance of two training networks."""
  return two_sample.bandwidth(features(methods.zoo(reference, None), space))


@once
def comparison(method: Sample) -> dict[str, Stat]:
  """Finite networks beside equally many held-out ones: metric -> its number.

  Raises:
    NotRun: if there are fewer than 10 networks on a side.
  """
  reference = method.reference
  heldout, zoo = methods.heldout(reference), methods.zoo(reference, None)
  rng = np.random.default_rng([reference.seed, 3, 1])  # It does not differ between methods.
  mine, theirs = map(
    np.flatnonzero, copying.disjoint(copying.vectors(method), copying.vectors(heldout))
  )
  count = min(len(mine), len(theirs), len(zoo.networks))
  if count < copying.MIN_NETWORKS:
    raise NotRun(f'a comparison of two sets needs {copying.MIN_NETWORKS} networks in each')
  mine = rng.permutation(mine)
  outputs = features(method, 'functional')[mine], features(heldout, 'functional')[theirs]
  score, number = two_sample.vendi_ratio(rng, *outputs, width(reference, 'functional'))
  found: dict[Any, Stat] = {'vendi_ratio': statistics.exact(score, number)}
  mine, theirs = mine[:count], rng.permutation(theirs)[:count]
  for space in SPACES:
    a, b = features(method, space)[mine], features(heldout, space)[theirs]
    unit = width(reference, space)
    shares = two_sample.compare(b, a)
    value, p = two_sample.test(rng, a, b, unit)
    found['density', space] = statistics.over_networks(
      shares.pop('density'), method.groups[mine], method.resampler
    )
    found |= {(name, space): statistics.rate(hits) for name, hits in shares.items()}
    found['mmd', space] = statistics.exact(value, count) | {'p': p}
    found['mmd_ratio', space] = statistics.exact(
      two_sample.ratio(rng, a, features(zoo, space), b, unit), count
    )
    found['energy', space] = statistics.exact(two_sample.energy(a, b) / unit, count)
    found['sliced', space] = statistics.exact(
      two_sample.sliced_wasserstein(rng, a, b) / unit, count
    )
  return found


# Space -> its name in labels, and what its principal components are of.
_WORDS = {
  'weights': ('weights', 'canonical weights'),
  'functional': ('function', 'logits on test items'),
}
# Number -> label, format, direction, heading, explanation.
_NUMBERS: dict[str, tuple[str, str, Better, str, str]] = {
  'density': (
    'density', '.2f', 'higher', 'density',
    'Balls of held-out networks around a sample, over 5, in the principal components of {}. Over '
    '1: crowded where they are dense.',
  ),
  'coverage': (
    'coverage', '.0%', 'higher', 'coverage',
    'Held-out networks with a sample among their 5 nearest neighbours, in the principal components '
    'of {}.',
  ),
  'precision': (
    'precision', '.0%', 'higher', 'precision',
    'Samples in the ball of 5 neighbours of a held-out network.',
  ),
  'recall': (
    'recall', '.0%', 'higher', 'recall',
    'Held-out networks in the ball of 5 neighbours of a sample. Stray samples have large balls: '
    'read it beside coverage.',
  ),
  'mmd': (
    'discrepancy', '.3f', 'lower', 'MMD²',
    'Unbiased squared maximum mean discrepancy to held-out networks, Gaussian kernel, with the '
    'probability p of one so large by chance. In components of few training networks these spread '
    'more than others: compare with fresh runs, not with the zoo.',
  ),
  'mmd_ratio': (
    'discrepancy over that of the zoo', '.2f', 'none', 'MMD / zoo',
    'Discrepancy to held-out networks over that of equally many training networks. Copies of those '
    'have 1.',
  ),
  'energy': (
    'energy distance', '.3f', 'lower', 'energy',
    'Energy distance to held-out networks over the median distance of two training networks: 0 in '
    'the mean for further runs, without the scale of a kernel.',
  ),
  'sliced': (
    'sliced Wasserstein distance', '.2f', 'lower', 'sliced W',
    'Sliced Wasserstein distance of order 2, along 512 lines, to as many held-out networks, over '
    'the median distance of two training networks. Further runs are not at 0 either: compare with '
    'fresh runs.',
  ),
}  # fmt: skip


def _metric(key: str, space: str) -> Metric:
  label, format, better, heading, doc = _NUMBERS[key]
  title, components = _WORDS[space]
  return metric(
    f'{label}, {title}', format, name=f'{key}_{space}', better=better, heading=heading,
    group=f'Fidelity, {title}', doc=doc.format(components), flag=_UNLIKE if key == 'mmd' else '',
  )(lambda method, reference: comparison(method.finite)[key, space])  # fmt: skip


METRICS = tuple(_metric(key, space) for space in SPACES for key in _NUMBERS)


def bin_edges(zoo: typing.StackedParams) -> dict[str, np.ndarray]:
  """Path -> [k + 1] edges of equal bins over the central weights of a canonical zoo."""
  edges = {}
  for path, value in zoo.items():
    low, high = np.quantile(_some(value), _RANGE)
    margin = 1e-6 if low == high else 0.0
    edges[path] = np.linspace(low - margin, high + margin, _NUM_BINS + 1)
  return edges


def densities(params: typing.StackedParams, edges: dict[str, np.ndarray]) -> dict[str, list[float]]:
  """Path -> [k] densities of each parameter between `edges`; weights outside count in the total."""
  result = {}
  for path, value in params.items():
    value = _some(value)
    counts, _ = np.histogram(value, edges[path])
    result[path] = (counts / len(value) / np.diff(edges[path])).tolist()
  return result


def _some(value: typing.Array) -> np.ndarray:
  """Weights of the first networks, as many as are worth counting."""
  value = np.asarray(value)
  return value[: max(_MAX_VALUES // value[0].size, 2)].ravel()
