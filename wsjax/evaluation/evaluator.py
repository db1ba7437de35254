"""Every axis of every arm, beside the same baselines, as one JSON value.

There is no average over axes: a number that hides a copy behind an accuracy is what this file is
against.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.progress

from wsjax.evaluation import context as context_lib
from wsjax.evaluation import differences, gate, predictions, statistics
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation.metrics import accuracy as accuracy_lib
from wsjax.evaluation.metrics import (
  audit,
  audit_metrics,
  calibration,
  connectivity,
  cost,
  diversity,
  fidelity,
  flags,
  memorization,
  novelty,
)
from wsjax.evaluation.report import axes as axes_lib
from wsjax.evaluation.report import measures

# Name of the arm of the training networks, each compared with the others.
ZOO = 'zoo, leave one out'

# Keys of a histogram that are no arms.
_RESERVED = (ZOO, 'bins', 'zoo')


def evaluate(
  arms: Sequence[arms_lib.Arm],
  context: context_lib.Context,
  *,
  num_bootstrap: int = 2000,
  seed: int = 0,
  progress: bool = True,
  axes: Sequence[str] = (),
  axis_limits: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Any]:
  """Measures every arm against one zoo.

  Args:
    arms: generators, and usually `baselines.panel`; names differ. The training networks themselves
      are added as an arm of kind 'reference'.
    context: the zoo and the test set.
    num_bootstrap: resamples behind every interval.
    seed: of the resamples.
    progress: whether to show a bar.
    axes: optional axes to measure too, names in `axes.NAMES`.
    axis_limits: axis -> most networks and items of each arm that it takes, if not those of
      `axes.LIMITS`.

  Returns:
    JSON value with zoo, arms, metrics, contrasts, histograms, alignment and barrier. Who knows
    path, digest and dataset of the zoo adds them to `zoo`.

  Raises:
    ValueError: if two arms have one name or a reserved one, an arm's weights are not of the
      architecture, the zoo has no spread, or an axis is not known.
  """
  axes_lib.check(axes, axis_limits)
  names = [arm.name for arm in arms]
  if len(set(names)) != len(names) or set(names) & set(_RESERVED):
    raise ValueError(
      f'Names of arms must differ from each other and from {_RESERVED}; got {names}.'
    )
  for arm in arms:
    context.architecture.spec.check(arm.params, stacked=True)
  resampler = statistics.Resampler(len(context.test_y), num_bootstrap, seed)
  zoo_arm = arms_lib.Arm(
    ZOO,
    'reference',
    context.train,
    context.fresh_seconds and context.fresh_seconds * context.num_runs,
    sum(np.asarray(value).nbytes for value in context.train.values()),
  )
  edges = fidelity.bin_edges(context.aligned_train)
  densities = {'zoo': fidelity.densities(context.aligned_train, edges)}
  auditor = audit.Auditor(context)
  rows, tables = [], {}
  for arm in rich.progress.track([zoo_arm, *arms], 'evaluate', disable=not progress):
    row, canonical, correct = _measure(arm, auditor, resampler)
    rows.append(row)
    tables[arm.name] = (correct, arm.groups)
    if canonical is not None and arm is not zoo_arm:
      densities[arm.name] = fidelity.densities(canonical, edges)
  result = {
    'zoo': _zoo(context, rows[0]),
    'arms': rows,
    'metrics': measures.METRICS,
    'contrasts': differences.against_baselines(rows, tables, resampler),
    'histograms': {
      path: {
        'bins': edges[path].tolist(),
        **{name: density[path] for name, density in densities.items()},
      }
      for path in edges
    },
    'alignment': connectivity.alignment(context),
    'barrier': connectivity.barriers(context),
  }
  return axes_lib.extend(
    result, [zoo_arm, *arms], context, resampler, axes, limits=axis_limits, progress=progress
  )


def _measure(
  arm: arms_lib.Arm, auditor: audit.Auditor, resampler: statistics.Resampler
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None, np.ndarray]:
  """Entry of one arm, canonical forms of its usable networks, what is right."""
  context = auditor.context
  is_zoo, groups, usable = arm.params is context.train, arm.groups, arm.usable
  predicted = context.train_predictions if is_zoo else context.predict(arm.params)
  correct = predicted.labels == context.test_y[None]
  if is_zoo:
    distances, max_iou = context.train_distance, context.train_iou
    canonical = context.aligned_train
  else:
    iou = memorization.error_iou(~correct, context.train_errors)
    max_iou = memorization.max_iou(iou)[0]
    distances = context.neighbours.nearest(arm.params, similarity=iou)[0]
    canonical = None
    if usable.any():
      canonical = context.align(arms_lib.take(arm.params, usable))
  shown = distances
  if context.snapshots is not None and not is_zoo:
    shown = np.fmin(shown, context.shown.nearest(arm.params)[0])
  per_net = {
    'accuracy': np.mean(correct, axis=1),
    'novelty': distances / context.bar.tau,
    'max_iou': max_iou,
    'nll': np.mean(predicted.nll, axis=1, dtype=np.float64),
    'shown': shown / context.bar.tau,
  }
  metrics = _metrics(arm, context, resampler, predicted, correct, per_net)
  if canonical is None:
    reason = statistics.not_run('no network has finite weights')
    metrics |= {'rms_ratio': reason, 'norm_ratio': reason}
  else:
    metrics |= fidelity.metrics(
      arms_lib.flatten(canonical), context.dispersion, context.rms, groups[usable], resampler
    )
  audited, numbers = audit_metrics.measure(arm, canonical, ~correct, auditor, resampler)
  metrics |= audited
  per_net |= numbers
  row = {
    'name': arm.name,
    'kind': arm.kind,
    'n': arm.num_nets,
    'seeds': [int(seed) for seed in arm.seeds],
    'metrics': {key: metrics[key] for key in measures.METRICS},
    'per_net': {key: _listed(value) for key, value in per_net.items()},
  }
  chance = accuracy_lib.chance(context.test_y)
  row['suspicions'] = flags.find(row, flags.working_bar(chance, context.bar.accuracy))
  if len(arm.seeds) > 1:
    row['per_seed'] = _per_seed(per_net, groups, context.bar)
  return row, canonical, correct


def _gates(per_net: dict[str, np.ndarray], bar: gate.Bar) -> dict[str, np.ndarray]:
  """[N] bool verdicts of the gate."""
  accuracy, distance = per_net['accuracy'], per_net['novelty'] * bar.tau
  return {
    'gate_strict': gate.strict(accuracy, distance, bar),
    'gate_half': gate.half(accuracy, distance, bar),
    'gate_behaviour': gate.behaviour(accuracy, per_net['max_iou'], bar),
  }


def _metrics(
  arm: arms_lib.Arm,
  context: context_lib.Context,
  resampler: statistics.Resampler,
  predicted: predictions.Predictions,
  correct: np.ndarray,
  per_net: dict[str, np.ndarray],
) -> dict[str, Any]:
  """Entries of one arm but for those of canonical weights."""
  groups, bar = arm.groups, context.bar
  good = per_net['accuracy'] >= bar.accuracy
  at_bar = statistics.not_run('no network reaches the accuracy bar')
  if good.any():
    at_bar = statistics.over_nets(per_net['max_iou'][good], groups[good], resampler)
  return {
    **accuracy_lib.metrics(correct, context.test_y, groups, resampler),
    **calibration.metrics(
      predicted.nll, predicted.brier, predicted.ece, predicted.ece_null, groups, resampler
    ),
    **novelty.metrics(
      per_net['novelty'] * bar.tau, per_net['shown'] * bar.tau, bar, groups, resampler
    ),
    'max_iou': statistics.over_nets(per_net['max_iou'], groups, resampler),
    'max_iou_at_bar': at_bar,
    **{key: statistics.rate(hits) for key, hits in _gates(per_net, bar).items()},
    **diversity.metrics(predicted.labels, correct, groups, resampler),
    **cost.of_arm(arm, good, context),
  }


def _per_seed(
  per_net: dict[str, np.ndarray], groups: np.ndarray, bar: gate.Bar
) -> dict[str, list[float | None]]:
  """Means over the networks of each generator seed, in the order of seeds."""
  values = {**per_net, **_gates(per_net, bar)}
  values['copy_rate'] = gate.copy(per_net['shown'] * bar.tau, bar)
  return {
    key: _listed([np.mean(value[groups == g]) for g in np.unique(groups)])
    for key, value in values.items()
  }


def _zoo(context: context_lib.Context, row: dict[str, Any]) -> dict[str, Any]:
  """Entry of the zoo."""
  heldout = context.heldout
  config = dict(context.architecture.config)
  return {
    'architecture': f'{context.architecture.name} {config}',
    'num_params': context.architecture.spec.num_params,
    'n_train': context.num_train,
    'n_heldout': 0 if heldout is None else len(next(iter(heldout.values()))),
    'accuracy': row['metrics']['accuracy'],
    'accuracy_p5': context.bar.accuracy,
    'tau': context.bar.tau,
    'loo_max_iou': row['metrics']['max_iou'],
    'rms': context.rms,
  }


def _listed(values: Any) -> list[float | None]:
  """Floats for JSON, None where one is not finite."""
  return [float(value) if np.isfinite(value) else None for value in values]
