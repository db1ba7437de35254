"""Evaluation: every metric of every method, beside one set of baselines, and the differences.

Metrics are not averaged with each other: an average would hide a copy behind an accuracy.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from wsjax import networks as networks_lib
from wsjax import terminal
from wsjax.evaluation import methods as methods_lib
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import metrics as metrics_lib
from wsjax.evaluation import reference as reference_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.metric import NotRun
from wsjax.evaluation.metrics import barriers, copying, diversity, fidelity, flags, novelty
from wsjax.evaluation.report import model

GATES = ('gate_strict', 'gate_half', 'gate_functional')
# Of a method: [N, n] whether its networks are right on the items, [N] seeds.
Table = tuple[np.ndarray, np.ndarray]


def against_baselines(
  rows: Mapping[str, model.Row], tables: Mapping[str, Table], resampler: statistics.Resampler
) -> dict[str, model.Row]:
  """Every generator less every baseline: accuracy and shares that pass the gates.

  Args:
    rows: method -> its measurements.
    tables: name of a generator or baseline -> which items it gets right.
    resampler: of the test items.

  Returns:
    'generator − baseline' -> 'accuracy' by `paired`, and every gate that was run, by Fisher's exact
    test, which takes networks to be independent. Every 'p' is corrected within the baselines of one
    generator and one metric (Holm): a generator above all of them is above the best of them.
  """
  made: dict[str, model.Row] = {}
  baselines = {name: row for name, row in rows.items() if row.kind == 'baseline'}
  if not baselines:
    return made
  models = {name: row for name, row in rows.items() if row.kind == 'model'}
  means = {name: mean(*tables[name], resampler) for name in (*models, *baselines)}
  for name, row in models.items():
    pairs = {
      f'{name} − {other}': {
        'accuracy': paired(means[name], means[other]),
        **{
          gate: _shares(row, baseline, gate)
          for gate in GATES
          if None not in (row.value(gate), baseline.value(gate))
        },
      }
      for other, baseline in baselines.items()
    }
    for metric in next(iter(pairs.values())):
      adjusted = statistics.holm(np.array([pair[metric]['p'] for pair in pairs.values()]))
      for pair, p in zip(pairs.values(), adjusted, strict=True):
        pair[metric]['p'] = float(p)
    made |= {
      pair: model.Row(min(row.n, rows[other].n), stats, 'model', row.seeds)
      for (pair, stats), other in zip(pairs.items(), baselines, strict=True)
    }
  return made


def _shares(row: model.Row, other: model.Row, gate: str) -> dict[str, Any]:
  """Difference of two shares, and how likely one so large is by chance."""
  table = []
  for each in (row, other):
    passed = round(each.value(gate) * each.n)
    table.append([passed, each.n - passed])
  return {
    'value': row.value(gate) - other.value(gate),
    'n': min(row.n, other.n),
    'p': float(scipy.stats.fisher_exact(table).pvalue),
    'method': 'fisher',
  }


@dataclasses.dataclass(frozen=True, eq=False)
class Mean:
  """Mean of a table: its value, [B] that of resamples, and what it is of."""

  value: float
  resamples: np.ndarray
  num_networks: int
  method: str


def mean(table: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler) -> Mean:
  """Mean of a table [N, n] of networks x items, correct or losses; `groups` [N] are seeds."""
  return Mean(
    float(np.mean(table, dtype=np.float64)),
    statistics.two_way_means(table, groups, resampler).astype(np.float64),
    len(table),
    statistics.method_name('two-way', groups),
  )


def paired(a: Mean, b: Mean) -> dict[str, Any]:
  """One mean minus the other, with a two-sided 'p' of at least 2 / (B + 1).

  One Resampler drew the same items for both and, of equally many seeds or networks, the same seeds
  or places, which pairs methods made from common noise.
  """
  resamples = a.resamples - b.resamples
  entry = statistics.stat(
    a.value - b.value, resamples, n=min(a.num_networks, b.num_networks), method=a.method
  )
  tail = min(np.sum(resamples <= 0), np.sum(resamples >= 0)) + 1
  return entry | {'p': float(min(1, 2 * tail / (len(resamples) + 1)))}


# Keys of a histogram that are no methods.
_RESERVED = (methods_lib.ZOO, 'bins', 'zoo')


@dataclasses.dataclass
class Evaluation:
  """Measurements of all methods.

  Attributes:
    metrics: columns, standard ones first.
    rows: method -> its measurements; the zoo itself comes first.
    differences: 'generator − baseline' -> differences of accuracy and of shares behind the gates.
    zoo: facts about the zoo: sizes, accuracy, thresholds.
    histograms: parameter -> 'bins', 'zoo' and method -> density of its weights.
    alignment: distances between networks of the zoo 'before' and 'after' alignment.
    barrier: losses on lines between networks of the zoo.
    curves: group of metrics -> method -> data of a figure.
  """

  metrics: tuple[metric_lib.Metric, ...]
  rows: dict[str, model.Row]
  differences: dict[str, model.Row]
  zoo: dict[str, Any]
  histograms: dict[str, dict[str, Any]]
  alignment: dict[str, Any]
  barrier: dict[str, Any]
  curves: dict[str, dict[str, Any]]


def check(names: Sequence[str], limits: Mapping[str, tuple[int, int]] | None = None) -> None:
  """Checks the optional metrics and limits of `evaluate` before the work.

  Raises:
    ValueError: for an unknown or repeated name, or a limit below 1.
  """
  metrics_lib.load_all(names)
  for name, limit in (limits or {}).items():
    metrics_lib.load(name)
    if len(limit) != 2 or min(limit) < 1:
      raise ValueError(
        f'The limit of {name} must be numbers of networks and items, at least 1; got {limit}.'
      )


def evaluate(
  methods: Sequence[methods_lib.Method],
  reference: reference_lib.Reference,
  *,
  metrics: Sequence[str] = (),
  limits: Mapping[str, tuple[int, int]] | None = None,
  progress: bool = True,
) -> Evaluation:
  """Measures every method against one zoo.

  Args:
    methods: generators, and usually `baselines.panel`; names differ. The training networks are
      added as a method of kind 'reference'.
    reference: the zoo and the test set.
    metrics: groups of metrics beside the standard ones, or dotted paths of metrics.
    limits: name in `metrics` -> most networks and items of each method, if not those of its file.
    progress: whether to show progress.

  Raises:
    ValueError: if two methods have one name or a reserved one, the weights of a method are not of
      the architecture, the zoo has no spread, or metrics are not known.
  """
  check(metrics, limits)
  names = [method.name for method in methods]
  if len(set(names)) != len(names) or set(names) & set(_RESERVED):
    raise ValueError(
      f'Names of methods must differ from each other and from {_RESERVED}; got {names}.'
    )
  for method in methods:
    reference.architecture.spec.check(method.params, stacked=True)
  groups = metrics_lib.load_all(metrics)
  limit = {group.name: (limits or {}).get(group.name, group.limit) for group in groups}
  metrics_of_all = tuple(metric for group in groups for metric in group.metrics)
  edges = fidelity.bin_edges(reference.aligned_train)
  densities = {'zoo': fidelity.densities(reference.aligned_train, edges)}
  rows: dict[str, model.Row] = {}
  tables, curves = {}, {group.name: {} for group in groups if group.curve}
  zoo = methods_lib.zoo(reference, None)
  for method in terminal.track([zoo.method, *methods], 'evaluate', show=progress):
    samples = {
      size: methods_lib.zoo(reference, size)
      if method is zoo.method
      else methods_lib.Sample(method, reference, size)
      for size in {None, *limit.values()}
    }
    found = {}
    for group in groups:
      sample = samples[limit[group.name]]
      found |= {metric.name: metric(sample, reference) for metric in group.metrics}
      if group.curve:
        with contextlib.suppress(NotRun):
          curves[group.name][method.name] = group.curve(sample)
    whole = samples[None]
    rows[method.name] = _row(whole, found, metrics_of_all)
    tables[method.name] = (whole.correct, whole.groups)
    if whole.usable.any() and method is not zoo.method:
      densities[method.name] = fidelity.densities(whole.finite.canonical, edges)
  resampler = reference.resampler(len(reference.test_y))
  return Evaluation(
    metrics_of_all,
    rows,
    against_baselines(rows, tables, resampler),
    _zoo(reference, rows[methods_lib.ZOO]),
    {
      path: {
        'bins': edges[path].tolist(),
        **{name: density[path] for name, density in densities.items()},
      }
      for path in edges
    },
    barriers.alignment(reference),
    barriers.zoo_barriers(reference),
    {name: found for name, found in curves.items() if found},
  )


def _row(
  method: methods_lib.Sample,
  stats: dict[str, metric_lib.Stat],
  metrics: Sequence[metric_lib.Metric],
) -> model.Row:
  """Row of one method."""
  reference = method.reference
  tau = reference.thresholds.tau
  networks = {
    'accuracy': method.accuracy,
    'novelty': novelty.distance(method) / tau,
    'max_iou': novelty.max_overlap(method),
    'nll': np.mean(method.predicted.nll, axis=1, dtype=np.float64),
    'shown': novelty.distance_to_shown(method) / tau,
  }
  if method.usable.any():
    finite = method.finite
    for key, values in {
      'canonical_novelty': copying.around(finite).distance / tau,
      'hull_residual': copying.around(finite).residual,
      'self_distance': diversity.spacing(finite) / tau,
    }.items():
      networks[key] = np.full(len(method.networks), np.nan)
      networks[key][method.usable] = values
  seeds = [int(seed) for seed in method.method.seeds]
  if len(seeds) > 1:
    for key, values in _per_seed(method).items():
      if stats[key]['value'] is not None:
        stats[key]['per_seed'] = values
  made, found = method.method, {key: statistics.finite(value) for key, value in networks.items()}
  row = model.Row(made.num_networks, stats, made.kind, seeds, per_network=found)
  threshold = flags.working_threshold(reference.chance, reference.thresholds.accuracy)
  row.flags = flags.find(row, threshold, metrics)
  return row


def _per_seed(method: methods_lib.Sample) -> dict[str, list[float | None]]:
  """Means over the networks of each training seed, in the order of seeds."""
  values = {
    'accuracy': method.accuracy,
    'max_iou': novelty.max_overlap(method),
    'copy_rate': method.reference.thresholds.copies(novelty.distance_to_shown(method)),
  }
  with contextlib.suppress(NotRun):
    values |= novelty.gates(method)
  groups = method.groups
  return {
    key: statistics.finite([np.mean(value[groups == g]) for g in np.unique(groups)])
    for key, value in values.items()
  }


def _zoo(reference: reference_lib.Reference, row: model.Row) -> dict[str, Any]:
  """Facts about the zoo."""
  heldout, architecture = reference.heldout, reference.architecture
  return {
    'architecture': f'{architecture.name} {dict(architecture.config)}',
    'num_params': architecture.spec.num_params,
    'n_train': reference.num_train,
    'n_heldout': 0 if heldout is None else networks_lib.length(heldout),
    'accuracy': row.value('accuracy'),
    'accuracy_p5': reference.thresholds.accuracy,
    'tau': reference.thresholds.tau,
    'loo_max_iou': row.value('max_iou'),
    'rms': diversity.root_mean_square(methods_lib.zoo(reference, None)),
  }
