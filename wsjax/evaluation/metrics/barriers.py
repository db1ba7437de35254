"""Loss barriers between networks, before and after their neurons are matched.

Two independent runs have a high barrier between them as trained, and a low one after matching.
Without a barrier as trained, one is most likely derived from the other.
"""

from typing import Any

import numpy as np
import scipy.spatial.distance

from wsjax import networks, typing
from wsjax.evaluation import predictions
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import NotRun, Stat, metric
from wsjax.evaluation.metrics import novelty
from wsjax.evaluation.reference import Reference
from wsjax.geometry import connectivity
from wsjax.models import model as model_lib

LIMIT = (32, 512)
NUM_POINTS = 11
GROUP = 'Barriers, nats'
# Training networks of the alignment figure, pairs of the barrier figure.
_ALIGNMENT_NETWORKS = 64
_BARRIER_PAIRS = 16


def path_losses(
  architecture: model_lib.Model,
  a: typing.StackedParams,
  b: typing.StackedParams,
  items: predictions.Items,
  *,
  num_points: int = NUM_POINTS,
) -> np.ndarray:
  """[P, s] mean loss, nats, at s even steps, ends included, from networks `a` to `b` in P pairs."""
  count = networks.length(a)
  t = np.linspace(0, 1, num_points, dtype=np.float32)
  points = {}
  for path in a:
    ends = np.asarray(a[path])[:, None], np.asarray(b[path])[:, None]
    weight = t.reshape(1, num_points, *(1,) * (ends[0].ndim - 2))
    line = (1 - weight) * ends[0] + weight * ends[1]
    points[path] = line.reshape(count * num_points, *line.shape[2:])
  nll = predictions.predict(architecture, points, items).nll
  return np.mean(nll, axis=1).reshape(count, num_points)


def _heights(method: Sample, a: typing.StackedParams, b: typing.StackedParams) -> np.ndarray:
  """[P] barriers on the test items of a method, nats."""
  return connectivity.barrier(path_losses(method.reference.architecture, a, b, method.device_items))


@once
def nearest(method: Sample) -> typing.StackedParams:
  """Path -> [N, ...] training network nearest to each finite network; raises NotRun for the zoo."""
  if method.is_zoo:
    raise NotRun('the nearest training network is the network itself')
  reference, finite = method.reference, method.finite
  whole = Sample(finite.method, reference, rows=finite.networks)  # On all test items.
  found = reference.neighbours.nearest(finite.params, similarity=novelty.overlap(whole))[1]
  return networks.take(reference.train, found)


@metric('barrier to the zoo as trained', '.3f', heading='to zoo', unit='nats')
def barrier_train_raw(method: Sample, reference: Reference) -> Stat:
  """Highest rise of the loss above the chord on the line to the nearest training network, without
  matching. Near 0: derived from it. Compare with fresh runs.
  """
  finite = method.finite
  return finite.over_networks(_heights(method, finite.params, nearest(method)))


@metric('barrier to the zoo, matched', '.3f', heading='to zoo, matched', unit='nats')
def barrier_train(method: Sample, reference: Reference) -> Stat:
  """Barrier to the nearest training network after its neurons are matched to those of the sample.

  Source: Frankle et al. 2020, arXiv:1912.05671 (the line); Entezari et al. 2022, arXiv:2110.06296
  (after permutations).
  """
  finite = method.finite
  ends = matched(finite.params, nearest(method), reference)
  return finite.over_networks(_heights(method, *ends))


@metric('barrier to another sample, matched', '.3f', heading='other sample, matched', unit='nats')
def barrier_self(method: Sample, reference: Reference) -> Stat:
  """Barrier to another network of one training seed after matching. 0: all in one basin."""
  if method.is_zoo:
    raise NotRun('the nearest training network is the network itself')
  finite = method.finite
  following = np.arange(len(finite.networks))
  for group in np.unique(finite.groups):
    members = np.flatnonzero(finite.groups == group)
    following[members] = np.roll(members, -1)
  others = networks.take(finite.params, following)
  heights = _heights(method, *matched(finite.params, others, reference))
  alone = following == np.arange(len(following))
  return finite.over_networks(np.where(alone, np.nan, heights))


def alignment(reference: Reference) -> dict[str, Any]:
  """Sorted L2 distances over tau of pairs of training networks, 'before' and 'after' alignment."""
  chosen = np.arange(min(reference.num_train, _ALIGNMENT_NETWORKS))

  def distances(zoo: typing.StackedParams) -> list[float]:
    vectors = networks.flatten(networks.take(zoo, chosen))
    pairs = scipy.spatial.distance.pdist(vectors)
    return np.sort(pairs / reference.thresholds.tau).tolist()

  return {
    'before': distances(reference.train),
    'after': distances(reference.aligned_train),
    'description': (
      f'L2 distance of all pairs of {len(chosen)} training networks over tau, '
      f'as trained and in canonical form ({reference.mode}).'
    ),
  }


def zoo_barriers(reference: Reference) -> dict[str, Any]:
  """Losses on the line between pairs of the first training networks, each in one pair.

  Returns:
    t: [s]; raw: [P, s] as trained; aligned: [P, s] the second of each pair matched to the first;
      unit.
  """
  count = min(reference.num_train // 2, _BARRIER_PAIRS)
  first = networks.take(reference.train, np.arange(count))
  second = networks.take(reference.train, np.arange(count, 2 * count))
  lines = {'raw': (first, second), 'aligned': matched(first, second, reference)}
  return {
    't': np.linspace(0, 1, NUM_POINTS).tolist(),
    **{
      name: path_losses(reference.architecture, *ends, reference.items).tolist()
      for name, ends in lines.items()
    },
    'unit': 'nats',
  }


def matched(
  first: typing.StackedParams, second: typing.StackedParams, reference: Reference
) -> tuple[typing.StackedParams, typing.StackedParams]:
  """Pairs of networks as `connectivity.matched` moves them."""
  spec = reference.architecture.spec
  return connectivity.matched(first, second, spec, restarts=reference.restarts, seed=reference.seed)
