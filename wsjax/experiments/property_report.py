"""Report of an experiment that reads a property from weights."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import figures, report
from wsjax.experiments import property_figures

# Metric -> (heading, factor, format).
COLUMNS = {
  'accuracy': ('accuracy %', 100, '.2f'),
  'nll': ('NLL nats', 1, '.3f'),
  'brier': ('Brier', 1, '.4f'),
  'ece': ('ECE %', 100, '.2f'),
  'tau': ("Kendall's τ", 1, '.4f'),
  'r2': ('R²', 1, '.4f'),
  'mae': ('mean error', 1, '.4f'),
  'coverage': ('in 90 % interval, %', 100, '.1f'),
  'width': ('its width', 1, '.4f'),
}
_REQUIRED = ('name', 'config', 'versions', 'property', 'encoder', 'metrics')


def check(result: Mapping[str, Any]) -> None:
  """Raises ValueError unless a report has what the page needs."""
  if missing := [key for key in _REQUIRED if key not in result]:
    raise ValueError(f'fields are missing: {", ".join(missing)}.')
  if unknown := sorted(set(result['metrics']) - set(COLUMNS)):
    raise ValueError(f'metrics has {unknown[0]!r}, which has no column.')


def page(result: Mapping[str, Any]) -> str:
  """HTML that needs nothing else: figures and style are inside."""
  return report.render(
    'property.html.j2',
    report=result,
    headline=headline(result),
    rows=rows(result),
    outcome=property_figures.outcome(result),
    training=figures.training(result),
    clock=report.clock(result),
  )


def headline(result: Mapping[str, Any]) -> str:
  """The finding in one sentence."""
  target = result['property']['target'].replace('_', ' ')
  encoder = result['encoder']['name']
  metric = 'accuracy' if 'accuracy' in result['metrics'] else 'tau'
  heading, factor, form = COLUMNS[metric]
  stat, constant = result['metrics'][metric], result['constant'].get(metric)
  text = f'{encoder} reads the {target} at {factor * stat["value"]:{form}}'
  text += ' %' if factor == 100 else f' {heading}'
  if stat.get('low') is not None:
    low, high = (factor * stat[side] for side in ('low', 'high'))
    text += f' [{low:{form}}, {high:{form}}]'
  if constant is not None:
    text += f'; without weights: {factor * constant:{form}}'
  return text + '.'


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Metric, value, interval, single seeds and what a constant scores."""
  made = []
  for key, (heading, factor, form) in COLUMNS.items():
    stat = result['metrics'].get(key)
    if stat is None:
      continue
    constant = result['constant'].get(key)
    made.append(
      {
        'heading': heading,
        'value': format(factor * stat['value'], form),
        'interval': _interval(stat, factor, form),
        'per_seed': ', '.join(format(factor * value, form) for value in stat['per_seed']),
        'constant': ('' if constant is None else format(factor * constant, form)),
      }
    )
  return made


def table(result: Mapping[str, Any]) -> Any:
  """The result for a terminal, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=headline(result), box=box.SIMPLE_HEAD)
  for heading in ('metric', 'value', '95 %', 'seeds', 'without weights'):
    made.add_column(heading, justify='left' if heading == 'metric' else 'right')
  for row in rows(result):
    cells = (row[key] for key in ('heading', 'value', 'interval', 'per_seed'))
    made.add_row(*map(text.Text, cells), row['constant'])
  return made


def _interval(stat: Mapping[str, Any], factor: float, form: str) -> str:
  if stat.get('low') is None:
    return ''
  return f'{factor * stat["low"]:{form}} – {factor * stat["high"]:{form}}'
