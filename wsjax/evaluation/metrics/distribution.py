"""Gate D: could the samples of a generator be further training runs, as far as tests can tell?

A classifier two-sample test trains a classifier to tell samples from equally many held-out runs; on
networks that it was not trained on, 50 % is chance. Spread, discrepancy and coverage are compared
with those of held-out runs beside other held-out runs, equally many. A test that tells nothing is
no proof: a better classifier may. Baselines are not put to it, which would take longer than all
else; copies of training networks pass it, and are told by other metrics.
"""

import numpy as np
import scipy.stats
import sklearn.ensemble
import sklearn.model_selection

from wsjax.evaluation import methods, statistics, two_sample
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.metrics import copying, fidelity
from wsjax.evaluation.reference import Reference

GROUP = 'Distribution'
_UNLIKE = 'not distributed as fresh runs'
MAX_NETWORKS = 256  # Of each side.
_FOLDS, _TREES = 5, 100
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# An axis without symmetry that is longer, such as one of pixels, gives no norms.
_MAX_AXIS = 64
_SPLITS = 200  # Of the held-out networks, for their own interval.
_KINDS = ('model', 'ceiling', 'reference')


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
  return np.column_stack([fidelity.features(method, 'functional'), *moments])


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
  heldout = methods.heldout(reference)
  mine, theirs = map(
    np.flatnonzero, copying.disjoint(copying.vectors(method), copying.vectors(heldout))
  )
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
  features = {'weights': geometry, 'functional': function}[space]
  mine, theirs = sides(finite)
  count = min(len(mine), len(theirs), MAX_NETWORKS)
  a, b = features(finite)[mine[:count]], features(methods.heldout(reference))[theirs[:count]]
  hits = told(a, b, seed=reference.seed)
  p = scipy.stats.binomtest(int(hits.sum()), len(hits), alternative='greater').pvalue
  # Both sides were classified; n is of the method, as elsewhere.
  return statistics.rate(hits) | {'n': count, 'p': float(p)}


@metric('told from fresh runs by norms of units', '.0%', better='lower', heading='told by weights',
        flag=_UNLIKE)  # fmt: skip
def told_by_weights(method: Sample, reference: Reference) -> Stat:
  """Accuracy of a random forest on sorted norms of units and statistics of every parameter at
  telling samples from as many held-out runs, cross-validated; 50 % is chance. p is binomial.
  """
  return forest(method, 'weights')


@metric('told from fresh runs by outputs', '.0%', better='lower', heading='told by function',
        flag=_UNLIKE)  # fmt: skip
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
  width = fidelity.width(reference, 'functional')
  rng = np.random.default_rng([reference.seed, 3, 3])
  a, b = fidelity.features(method, 'functional')[mine], fidelity.features(heldout, 'functional')
  c, d = copying.vectors(method)[mine], copying.vectors(heldout)

  def both(x, y, weights):
    pooled = np.concatenate([x, y])
    first = np.arange(2 * count)[None] < count
    return (
      _spread(weights),
      two_sample.mmd2(two_sample.kernel(pooled, pooled, width), first)[0],
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
