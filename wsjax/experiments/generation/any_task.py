"""Evaluates generated networks of any task by their loss on test items.

Networks that are no classifiers have no predicted classes to compare. Here the function of a
network is the vector of its losses on single test items.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.spatial.distance
from jaxtyping import Float

from wsjax import networks, terminal, typing
from wsjax.evaluation import baselines, methods, statistics, two_sample
from wsjax.evaluation import reference as reference_lib
from wsjax.evaluation.metric import Metric, Stat
from wsjax.evaluation.report import model
from wsjax.experiments.generation import verdict
from wsjax.models import model as model_lib
from wsjax.zoo import losses

_ITEMS_AT_ONCE = 256
# Networks of a set that is compared with another: one more than a ball holds, when one is left out.
_FEWEST = two_sample.BALL + 2
METRICS = (
  Metric('loss', 'loss', better='lower', format='.4g', doc='Test loss, mean over networks.'),
  Metric(
    'novelty', 'distance', unit='tau', better='higher', format='.3f', heading='distance τ',
    doc='Median quotient distance to the nearest training network, in units of τ.',
  ),
  Metric(
    'copy_rate', 'copies', better='lower', format='.0%',
    doc='Networks nearer than 0.1 τ to a training network.',
  ),
  Metric(
    'gate_strict', 'strict gate G', better='higher', format='.0%', heading='G',
    doc='Loss at most the 95th percentile of the zoo, and distance at least τ.',
  ),
  Metric(
    'gate_half', 'half gate G½', better='higher', format='.0%', heading='G½',
    doc='Loss at most the 95th percentile of the zoo, and distance at least τ / 2.',
  ),
  Metric(
    'nna', '1-NNA', format='.1%',
    doc='Share of networks whose nearest other one, in losses on test items, is of its own set, '
    'samples or held-out runs: 50 % where the two cannot be told apart.',
  ),
  Metric(
    'coverage', 'coverage', better='higher', format='.1%',
    doc='Share of held-out runs with a sample among their 5 nearest, in losses on test items.',
  ),
  Metric(
    'spread', 'spread', format='.2f',
    doc='Root mean square deviation of the aligned weights from their mean, over that of the zoo.',
  ),
  Metric('seconds', 'time', unit='s', better='lower', format='.3g', heading='s per network',
         doc='Wall seconds to make one network.'),
)  # fmt: skip
_SUMMARY = ('loss', 'novelty', 'copy_rate', 'gate_strict', 'gate_half', 'nna', 'coverage')


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reference(reference_lib.Population):
  """The zoo and the test items that networks of any task are compared with.

  Attributes:
    loss: of one network on a batch, see `datasets.Dataset`.
    test_x: [n, ...] test inputs.
    test_y: [n, ...] their targets.
    num_bootstrap: resamples behind every interval.
  """

  loss: Callable[..., Any] | None
  test_x: np.ndarray
  test_y: np.ndarray
  num_bootstrap: int = 2000

  def losses(self, params: typing.StackedParams) -> Float[np.ndarray, 'networks n']:
    """Loss of every network on every test item alone."""
    run = functools.partial(_losses, self.architecture, self.loss, self.test_x, self.test_y)
    return networks.in_chunks(run, params, 32)

  @functools.cached_property
  def train_losses(self) -> Float[np.ndarray, 'networks n']:
    """Losses of the training networks."""
    return self.losses(self.train)

  @functools.cached_property
  def scale(self) -> Float[np.ndarray, ' n']:
    """Deviation of the loss of training networks on each item: the unit of function space."""
    return np.maximum(self.train_losses.std(axis=0), 1e-6)

  def function(self, losses: Float[np.ndarray, 'networks n']) -> Float[np.ndarray, 'networks n']:
    """Losses in units of `scale`, finite and so far that no distance overflows."""
    return np.nan_to_num(losses / self.scale, nan=1e6, posinf=1e6).clip(-1e6, 1e6)

  def distance(self, params: typing.StackedParams, losses: np.ndarray, *, own: bool) -> np.ndarray:
    """[N] quotient distance to the nearest training network; `own`: to the nearest other one."""
    table = scipy.spatial.distance.cdist(self.function(losses), self.function(self.train_losses))
    return self.neighbours.nearest(params, similarity=-table, exclude_same_index=own)[0]

  @functools.cached_property
  def thresholds(self) -> reference_lib.Thresholds:
    """Thresholds of the gates, from networks of independent runs; `accuracy` is a negative loss."""
    runs = self.runs
    return reference_lib.Thresholds(
      accuracy=-float(np.percentile(runs.train_losses.mean(axis=1), 95)),
      tau=float(np.median(runs.distance(runs.train, runs.train_losses, own=True))),
      max_iou=np.nan,
      norm=runs.norm,
    )

  @functools.cached_property
  def heldout_function(self) -> Float[np.ndarray, 'networks n'] | None:
    """`function` of the held-out networks; None if there are none."""
    return None if self.heldout is None else self.function(self.losses(self.heldout))

  @functools.cached_property
  def untrained_loss(self) -> float | None:
    """Median loss of networks that were not trained; None where the model draws none."""
    if not self.architecture.can_init:
      return None
    params = baselines.random_init(np.random.default_rng(self.seed), self, 32)
    return float(np.median(self.losses(params).mean(axis=1)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _losses(
  model: model_lib.Model, loss: Any, x: jax.Array, y: jax.Array, params: typing.StackedParams
) -> jax.Array:
  def one(net: typing.Params) -> jax.Array:
    def item(pair: Any) -> jax.Array:
      return losses.value(loss, model, net, jax.tree.map(lambda part: part[None], pair))

    return jax.lax.map(item, (x, y), batch_size=_ITEMS_AT_ONCE)

  return jax.vmap(one)(params)


def evaluate(
  given: Sequence[methods.Method], reference: Reference, *, num_samples: int, progress: bool = True
) -> model.Report:
  """Compares methods with the zoo, beside all baselines.

  Args:
    given: the methods, the first of them the one of the headline.
    reference: the zoo and the test items.
    num_samples: networks per baseline.
    progress: whether to show progress.

  Raises:
    ValueError: if the weights of a method do not fit the model, or the zoo consists of copies.
  """
  for method in given:
    reference.architecture.spec.check(method.params, stacked=True)
  zoo = methods.Method('zoo, leave one out', 'reference', reference.train)
  panel = baselines.panel(reference, num_samples=num_samples, seed=reference.seed)
  rows = {}
  for method in terminal.track([zoo, *given, *panel], 'evaluate', show=progress):
    seeds = [int(seed) for seed in method.seeds] if method.kind == 'model' else []
    stats = measure(method, reference)
    rows[method.name] = model.Row(method.num_networks, stats, method.kind, seeds)
  table = model.Table(
    'Methods',
    METRICS,
    rows,
    'Values over all samples of a method, none selected, with their 95 % intervals. τ is the '
    'median distance between independent training runs; fresh runs are the ceiling.',
    _SUMMARY,
  )
  architecture, thresholds = reference.architecture, reference.thresholds
  facts = {
    'architecture': architecture.name,
    'num_params': architecture.spec.num_params,
    'n_train': reference.num_train,
    'loss_p95': -thresholds.accuracy,
    'tau': thresholds.tau,
  }
  if reference.untrained_loss is not None:
    facts['untrained_loss'] = reference.untrained_loss
  return model.Report(verdict.headline(table), {'methods': table}, facts={'Zoo': facts})


def measure(method: methods.Method, reference: Reference) -> dict[str, Stat]:
  """Computes all metrics of one method."""
  own = method.params is reference.train
  found = reference.train_losses if own else reference.losses(method.params)
  groups, thresholds = method.groups, reference.thresholds
  resampler = statistics.Resampler(found.shape[1], reference.num_bootstrap, reference.seed)
  distance = reference.distance(method.params, found, own=own)
  shown = distance
  if not own and reference.snapshots is not None:
    shown = np.fmin(distance, reference.shown.nearest(method.params)[0])
  stats = {
    'loss': statistics.two_way(found, groups, resampler),
    'novelty': statistics.over_networks(distance / thresholds.tau, groups, resampler, window=None),
    'copy_rate': statistics.rate(thresholds.copies(shown)),
    **_gates(-found.mean(axis=1), distance, reference),
    **_sets(method, found, reference),
    'spread': _spread(method, reference),
  }
  if method.seconds is not None:
    stats['seconds'] = statistics.stat(
      method.seconds / method.num_networks, None, n=method.num_networks, method='none'
    )
  return stats


def _gates(score: np.ndarray, distance: np.ndarray, reference: Reference) -> dict[str, Stat]:
  """Shares that pass the gates; none if the zoo is no better than networks before training."""
  thresholds, untrained = reference.thresholds, reference.untrained_loss
  if untrained is not None and -thresholds.accuracy >= untrained:
    reason = (
      f'the 95th percentile of the loss of the zoo, {-thresholds.accuracy:.3g}, is not below the '
      f'median loss of untrained networks, {untrained:.3g}'
    )
    return dict.fromkeys(('gate_strict', 'gate_half'), statistics.not_run(reason))
  return {
    'gate_strict': statistics.rate(thresholds.strict(score, distance)),
    'gate_half': statistics.rate(thresholds.strict(score, distance, share=0.5)),
  }


def _sets(method: methods.Method, found: np.ndarray, reference: Reference) -> dict[str, Stat]:
  """Metrics that compare the networks of each seed with held-out runs."""
  real = reference.heldout_function
  groups, samples = method.groups, reference.function(found)
  count = 0 if real is None else min(len(real), *np.bincount(groups))
  if (
    real is None or count < _FEWEST or method.kind == 'ceiling'
  ):  # Fresh runs are the held-out runs themselves.
    reason = statistics.not_run(f'fewer than {_FEWEST} networks, or the held-out ones themselves')
    return {'nna': reason, 'coverage': reason}
  by_seed = np.stack([samples[groups == group][:count] for group in np.unique(groups)])
  compared = {
    'nna': lambda a, b: two_sample.one_nearest(a, b).mean(),
    'coverage': lambda a, b: float(two_sample.compare(b, a)['coverage'].mean()),
  }
  return {
    name: statistics.jackknife(statistic, by_seed, real[:count], bounds=(0, 1))
    for name, statistic in compared.items()
  }


def _spread(method: methods.Method, reference: Reference) -> Stat:
  """Spread of the aligned networks with finite weights, over that of the zoo."""
  usable = method.usable
  if usable.sum() < 2:
    return statistics.not_run('fewer than two networks have finite weights')

  def deviation(params: typing.StackedParams) -> float:
    flat = networks.flatten(params)
    return float(np.sqrt(np.mean((flat - flat.mean(axis=0)) ** 2)))

  aligned = reference.align(networks.take(method.params, usable))
  value = deviation(aligned) / deviation(reference.aligned_train)
  return statistics.stat(value, None, n=int(usable.sum()), method='none')
