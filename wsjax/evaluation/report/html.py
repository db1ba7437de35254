"""A report as one HTML page that opens offline: style and figures are inside."""

import itertools
import json
import pathlib
import re
from typing import Any

from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model

_BETTER = {'higher': '\u00a0▴', 'lower': '\u00a0▾', 'none': ''}


def page(report: model.Report) -> str:
  """Renders a report of any kind.

  Raises:
    ValueError: if a figure cannot be drawn from its data.
  """
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  run = report.run
  times = sorted(run.wall_seconds, key=run.wall_seconds.__getitem__, reverse=True)
  facts = {title: pairs for title, pairs in report.facts.items() if pairs} | {
    'Wall time': {stage: f'{run.wall_seconds[stage]:.1f} s' for stage in times},
    'Software': ({'device': run.device} if run.device else {}) | run.versions,
  }
  return environment.get_template('template.html.j2').render(
    report=report,
    run=run,
    tables=[_table(table) for table in report.tables.values()],
    figures=[_figure(report, name) for name in report.figures],
    facts={
      title: {key: _fact(value) for key, value in pairs.items() if value not in (None, [], '')}
      for title, pairs in facts.items()
      if pairs
    },
    config=json.dumps(run.config, indent=2) if run.config else '',
  )


def _table(table: model.Table) -> dict[str, Any]:
  """Headings, cells and explanations of a table."""
  metrics = table.shown
  groups = [(group, len(list(run))) for group, run in itertools.groupby(metrics, lambda m: m.group)]
  edges = set(itertools.accumulate(count for _, count in groups))
  reasons: list[str] = []
  kinds = {}
  for kind, title in model.KINDS.items():
    rows = [
      {
        'name': name,
        'row': row,
        'cells': [
          _cell(metric, row.stats.get(metric.name), reasons) | {'edge': i in edges}
          for i, metric in enumerate(metrics)
        ],
      }
      for name, row in table.rows.items()
      if row.kind == kind
    ]
    if rows:
      kinds[title] = rows
  return {
    'title': table.title,
    'doc': table.doc,
    'groups': groups,
    'metrics': [
      {'column': m.column + _BETTER[m.better], 'meaning': m, 'edge': i in edges}
      for i, m in enumerate(metrics)
    ],
    'kinds': kinds,
    'reasons': reasons,
  }


def _cell(
  metric: metric_lib.Metric, stat: metric_lib.Stat | None, reasons: list[str]
) -> dict[str, Any]:
  """Texts of a cell; the reason for a number that is missing is collected as a footnote."""
  stat = stat or {'value': None, 'not_run': 'not part of this evaluation'}
  if stat['value'] is None:
    reason = stat['not_run']
    if reason not in reasons:
      reasons.append(reason)
    return {
      'sort': '', 'text': 'not run', 'note': reasons.index(reason) + 1,
      'title': f'not run: {reason}', 'interval': '', 'seeds': '',
    }  # fmt: skip
  title = f'{metric.label}: {stat["value"]:.6g}'
  if 'n' in stat:
    title += f', n = {stat["n"]}, interval: {stat.get("method")}'
  if 'heldout' in stat:
    title += f', held-out networks: {stat["heldout"]:.6g}'
  if 'note' in stat:
    title += f'; {stat["note"]}'
  seeds = stat.get('per_seed', [])
  return {
    'sort': stat['value'],
    'text': metric.text(stat['value']),
    'note': 0,
    'title': title,
    'interval': f'p = {stat["p"]:.2g}' if 'p' in stat else metric.interval(stat),
    'seeds': ', '.join(map(metric.text, seeds)) if len(seeds) > 1 else '',
  }


def _figure(report: model.Report, name: str) -> dict[str, Any]:
  """SVG of a figure, or why there is none."""
  from wsjax.evaluation.report import plots

  figure = report.figures[name]
  made = {'name': name, 'figure': figure, 'svg': '', 'wide': True}
  if not figure.plot:
    return made
  draw = getattr(plots, figure.plot, None)
  if figure.plot not in plots.NAMES or draw is None:
    raise ValueError(
      f'figure {name!r} has the plot {figure.plot!r}; allowed: {", ".join(plots.NAMES)}.'
    )
  data = dict(figure.data)
  try:
    if 'table' in data:
      data['table'] = report.tables[data['table']]
    svg = draw(name=re.sub(r'\W', '_', name), description=figure.title or name, **data)
  except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    problem = f'{type(error).__name__}: {error}'
    raise ValueError(
      f'figure {name!r} has data that {figure.plot} cannot draw: {problem}'
    ) from error
  width = float(re.search(r'viewBox="\S+ \S+ (\S+)', svg)[1])
  return made | {'svg': svg, 'wide': width > 500}


def _fact(value: Any) -> str:
  """A JSON value as a reader writes it."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return ', '.join(map(_fact, value)) if isinstance(value, list) else str(value)
  return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
