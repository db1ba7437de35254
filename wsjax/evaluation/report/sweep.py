"""Runs of a sweep side by side, as a report."""

from collections.abc import Mapping

from wsjax.evaluation.report import model

_PANELS = 5


def side_by_side(name: str, reports: Mapping[str, model.Report]) -> model.Report:
  """A report with a row per run and model of the first tables of `reports`: run -> report.

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
    {'runs': table},
    {'intervals': model.Figure('intervals', {'table': 'runs', 'metrics': panels})},
    findings={run: _finding(report) for run, report in reports.items()},
    experiment=f'sweep of {kinds[0]}',
    run=model.Run(name),
  )


def _finding(report: model.Report) -> str:
  changed = ', '.join(f'{key}={value}' for key, value in report.run.overrides.items())
  return report.headline + (f' ({changed})' if changed else '')
