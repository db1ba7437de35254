"""Runs of a sweep side by side, as a report."""

import dataclasses
from collections.abc import Mapping, Sequence

from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation import statistics
from wsjax.evaluation.report import model

_PANELS = 5


def side_by_side(name: str, reports: Mapping[str, model.Report]) -> model.Report:
  """A report with a row per run and model of the first tables of `reports`: run -> report.

  A second table has the differences from the first row, over the training seeds that both share.

  Raises:
    ValueError: if the reports are of several kinds, or none has a model.
  """
  kinds = sorted({report.experiment for report in reports.values()})
  if len(kinds) != 1:
    raise ValueError(f'Runs of {" and ".join(kinds) or "no experiment"} have no common table.')
  rows: dict[str, model.Row] = {}
  metrics = {}
  for run, report in reports.items():
    table = next(iter(report.tables.values()))
    metrics |= {metric.name: metric for metric in table.short}
    models = {method: row for method, row in table.rows.items() if row.kind == 'model'}
    for method, row in models.items():
      label = run if len(models) == 1 else f'{run}: {method}'
      stats = {key: stat for key, stat in row.stats.items() if key in metrics}
      rows[label] = model.Row(row.n, stats, seeds=row.seeds, link=f'{run}/report.html')
  if not rows:
    raise ValueError(f'No run of the sweep {name!r} has a model to compare.')
  table = model.Table(
    'Runs side by side',
    tuple(metrics.values()),
    rows,
    'A row is a model of a run, with 95 % intervals. Runs are comparable where they share the zoo.',
  )
  panels = [m.name for m in table.shown if m.better != 'none'][:_PANELS]
  return model.Report(
    f'{name}: {len(rows)} models side by side',
    {'runs': table} | _differences(table),
    {'intervals': model.Figure('intervals', {'table': 'runs', 'metrics': panels})},
    findings={run: _finding(report) for run, report in reports.items()},
    experiment=f'sweep of {kinds[0]}',
    run=model.Run(name),
  )


def _differences(table: model.Table) -> dict[str, model.Table]:
  """The table of the differences from the first row, if another row has its metrics."""
  (first, reference), *others = table.rows.items()
  rows = {}
  for name, row in others:
    stats = {
      metric.name: found
      for metric in table.metrics
      if (found := _difference(row, reference, metric.name)) is not None
    }
    if stats:
      rows[name] = model.Row(row.n, stats, seeds=row.seeds, link=row.link)
  if not rows:
    return {}
  return {
    'differences': model.Table(
      f'Differences from {first}',
      _declared(table.metrics, {name for row in rows.values() for name in row.stats}),
      rows,
      f'Each row less {first}. Runs with the same training seeds are compared seed by seed, with '
      'the 95 % t interval of the mean difference over seeds; an interval without 0 is a '
      'difference. With one seed there is no interval.',
    )
  }


def _declared(
  metrics: Sequence[metric_lib.Metric], names: set[str]
) -> tuple[metric_lib.Metric, ...]:
  """Metrics as differences: a sign tells the direction."""
  return tuple(
    dataclasses.replace(metric, format=f'+{metric.format.removeprefix("+")}')
    for metric in metrics
    if metric.name in names
  )


def _difference(row: model.Row, reference: model.Row, name: str) -> metric_lib.Stat | None:
  """How much larger a metric is than that of the reference; None where one has no value."""
  a, b = (each.stats.get(name) or {'value': None} for each in (row, reference))
  if a['value'] is None or b['value'] is None:
    return None
  seeds = [stat.get('per_seed') or [stat['value']] for stat in (a, b)]
  if row.seeds != reference.seeds or len(seeds[0]) != len(seeds[1]) or None in sum(seeds, []):
    return statistics.exact(a['value'] - b['value'], 1)
  return statistics.paired(*seeds)


def _finding(report: model.Report) -> str:
  changed = ', '.join(f'{key}={value}' for key, value in report.run.overrides.items())
  return report.headline + (f' ({changed})' if changed else '')
