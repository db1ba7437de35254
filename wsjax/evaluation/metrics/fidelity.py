"""Fidelity: are weights and functions distributed as those of further runs?

Sets are compared in principal components of the training networks: 'weights' are canonical forms,
'functional' is logits on test items.

Gate D asks whether any test tells samples from further runs. A classifier two-sample test trains a
classifier to tell them from equally many held-out runs; on networks that it was not trained on,
50 % is chance. Spread, discrepancy and coverage are compared with those of held-out runs beside
other held-out runs, equally many. A test that tells nothing is no proof: a better classifier may.
Baselines are not put to it, which would take longer than all else; copies of training networks pass
it, and are told by other metrics.
"""

from typing import Any

import numpy as np
import scipy.stats
import sklearn.ensemble
import sklearn.model_selection

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
# Of gate D: networks of each side.
MAX_NETWORKS = 256
_FOLDS, _TREES = 5, 50
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# An axis without symmetry that is longer, such as one of pixels, gives no norms.
_MAX_AXIS = 64
_SPLITS = 100  # Of the held-out networks, for their own interval.
_KINDS = ('model', 'ceiling', 'reference')


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
  mine, theirs = map(np.flatnonzero, copying.apart(method))
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


@once
def geometry(method: Sample) -> np.ndarray:
  """[N, f] norms of units, sorted, and statistics of every parameter of canonical forms."""
  spec, params = method.reference.architecture.spec, method.canonical
  sizes = {group.id: group.size for group in spec.groups}
  parts = []
  for leaf in spec.leaves:
    value = np.asarray(params[leaf.path], np.float64)
    flat = value.reshape(len(value), -1)
    parts += [flat.mean(axis=1), flat.std(axis=1), *np.quantile(flat, _QUANTILES, axis=1)]
    for place, axis in enumerate(leaf.axes, 1):
      units = np.moveaxis(value, place, -1).reshape(len(value), -1, value.shape[place])
      if axis.group is not None:
        blocks = units.reshape(len(value), -1, sizes[axis.group], axis.inner)
        parts += list(np.sort(np.sqrt((blocks**2).sum(axis=(1, 3))), axis=1).T)
      elif units.shape[-1] <= _MAX_AXIS:
        parts += list(np.sqrt((units**2).sum(axis=1)).T)
  return np.stack(parts, axis=1)


@once
def function(method: Sample) -> np.ndarray:
  """[N, f] principal components of logits on test items, accuracy, and moments of the loss."""
  nll = method.predicted.nll
  moments = [method.accuracy, nll.mean(axis=1), nll.std(axis=1), np.median(nll, axis=1)]
  return np.column_stack([features(method, 'functional'), *moments])


@once
def sides(method: Sample) -> tuple[np.ndarray, np.ndarray]:
  """[n] places of finite networks of the method and [m] of held-out ones, in random order.

  Fresh runs are held-out networks, too: none is on both sides.

  Raises:
    NotRun: for baselines, or if there are fewer than 10 networks on a side.
  """
  reference = method.reference
  if method.method.kind not in _KINDS:
    raise NotRun('gate D is for generators and training runs')
  mine, theirs = map(np.flatnonzero, copying.apart(method))
  if min(len(mine), len(theirs)) < copying.MIN_NETWORKS:
    raise NotRun(f'a comparison of two sets needs {copying.MIN_NETWORKS} networks in each')
  rng = np.random.default_rng([reference.seed, 3, 2])  # It does not differ between methods.
  return rng.permutation(mine), rng.permutation(theirs)


def told(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """[2n] bool, whether a random forest that was not trained on a network knows its side.

  Args:
    a: [n, f] features of one side.
    b: [n, f] of the other.
    seed: of folds and trees.

  Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545, with five-fold cross-validation.
  """
  x = np.concatenate([a, b])
  y = np.repeat([0, 1], [len(a), len(b)])
  folds = sklearn.model_selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
  forest = sklearn.ensemble.RandomForestClassifier(_TREES, random_state=seed)
  return sklearn.model_selection.cross_val_predict(forest, x, y, cv=folds) == y


@once
def forest(method: Sample, space: str) -> Stat:
  """Accuracy of `told` in a space, its exact interval, and its probability by chance."""
  finite, reference = method.finite, method.reference
  read = {'weights': geometry, 'functional': function}[space]
  mine, theirs = sides(finite)
  count = min(len(mine), len(theirs), MAX_NETWORKS)
  a, b = read(finite)[mine[:count]], read(methods.heldout(reference))[theirs[:count]]
  hits = told(a, b, seed=reference.seed)
  p = scipy.stats.binomtest(int(hits.sum()), len(hits), alternative='greater').pvalue
  # Both sides were classified; n is of the method, as elsewhere.
  return statistics.rate(hits) | {'n': count, 'p': float(p)}


@metric('told from fresh runs by norms of units', '.0%', better='lower', heading='told by weights',
        group='Distribution', flag=_UNLIKE)  # fmt: skip
def told_by_weights(method: Sample, reference: Reference) -> Stat:
  """Accuracy of a random forest on sorted norms of units and statistics of every parameter at
  telling samples from as many held-out runs, cross-validated; 50 % is chance. p is binomial.
  """
  return forest(method, 'weights')


@metric('told from fresh runs by outputs', '.0%', better='lower', heading='told by function',
        group='Distribution', flag=_UNLIKE)  # fmt: skip
def told_by_function(method: Sample, reference: Reference) -> Stat:
  """Accuracy of a random forest on logits, accuracy and loss on test items at telling samples from
  as many held-out runs, cross-validated; 50 % is chance. p is binomial.
  """
  return forest(method, 'functional')


@once
def moments(method: Sample) -> dict[str, tuple[float, float, float]]:
  """Spread, discrepancy and coverage: (value, ends of the interval of held-out runs).

  All are of halves of the held-out networks at most, drawn often: the value is the mean over draws,
  the interval that of held-out runs beside other ones, equally many.
  """
  reference = method.reference
  heldout = methods.heldout(reference)
  mine, theirs = sides(method)
  count = min(len(mine), len(theirs), len(heldout.networks) // 2, MAX_NETWORKS)
  if count < copying.MIN_NETWORKS:
    raise NotRun(f'an interval of held-out runs needs {2 * copying.MIN_NETWORKS} of them')
  unit = width(reference, 'functional')
  rng = np.random.default_rng([reference.seed, 3, 3])
  a, b = features(method, 'functional')[mine], features(heldout, 'functional')
  c, d = copying.vectors(method)[mine], copying.vectors(heldout)

  def both(x, y, weights):
    pooled = np.concatenate([x, y])
    first = np.arange(2 * count)[None] < count
    return (
      _spread(weights),
      two_sample.mmd2(two_sample.kernel(pooled, pooled, unit), first)[0],
      float(np.mean(two_sample.compare(y, x)['coverage'])),
    )

  null, found = [], []
  for _ in range(_SPLITS):
    order = rng.permutation(len(b))[: 2 * count]
    one, two = order[:count], order[count:]
    null.append(both(b[one], b[two], d[one]))
    some, others = rng.permutation(len(a))[:count], rng.permutation(theirs)[:count]
    found.append(both(a[some], b[others], c[some]))
  low, high = np.quantile(null, [0.025, 0.975], axis=0)
  names = ('spread', 'discrepancy', 'coverage')
  return {
    name: (float(value), float(x), float(y))
    for name, value, x, y in zip(names, np.mean(found, axis=0), low, high, strict=True)
  }


def _spread(vectors: np.ndarray) -> float:
  """Root mean square over coordinates of the standard deviation over networks [n, d]."""
  products = vectors @ vectors.T
  n, d = vectors.shape
  return float(np.sqrt(max((np.trace(products) - products.sum() / n) / (n - 1) / d, 0)))


@metric('distribution gate D', '.0%', better='higher', heading='D', group='Gates')
def gate_distribution(method: Sample, reference: Reference) -> Stat:
  """Share of the parts of gate D that hold; all must. Neither forest tells samples from held-out
  runs (its interval reaches 50 %), and spread of weights, functional discrepancy and functional
  coverage lie in the 95 % interval of held-out runs beside others.
  """
  finite = method.finite
  found = {
    'weights': (forest(method, 'weights')['low'] <= 0.5),
    'function': (forest(method, 'functional')['low'] <= 0.5),
  }
  for name, (value, low, high) in moments(finite).items():
    # Less discrepancy and more coverage than those of held-out runs are no fault here: copies are
    # found by other metrics.
    found[name] = (name == 'discrepancy' or value >= low) and (name == 'coverage' or value <= high)
  failed = [name for name, holds in found.items() if not holds]
  note = f'fails in {", ".join(failed)}' if failed else 'passes in all parts'
  stat = statistics.exact(1 - len(failed) / len(found), len(sides(finite)[0]))
  return stat | {'note': note}


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
