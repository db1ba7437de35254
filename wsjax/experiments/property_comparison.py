"""Runs of a sweep that read a property, side by side."""

import itertools
from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import figures, report
from wsjax.experiments import property_report


def gather(name: str, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Collects what several reports measured.

  Args:
    name: of the sweep.
    reports: run name -> report, in the order of the sweep.

  Returns:
    What `write` takes: one entry per run.
  """
  return {
    'schema_version': report.SCHEMA_VERSION,
    'name': name,
    'runs': [
      {
        'run': run,
        'label': run,
        'encoder': made['encoder'],
        'property': made['property'],
        'metrics': made['metrics'],
        'headline': property_report.headline(made),
        'overrides': made.get('overrides', {}),
      }
      for run, made in reports.items()
    ],
  }


def page(gathered: Mapping[str, Any]) -> str:
  """HTML of the table, for `report.publish`.

  Args:
    gathered: as `gather` returns it.
  """
  shown = _shown(gathered)
  return report.render(
    'property_comparison.html.j2',
    name=gathered['name'],
    runs=gathered['runs'],
    figure=figures.intervals(
      [(run['label'], run['metrics']) for run in gathered['runs']],
      {key: property_report.COLUMNS[key][0] for key in shown[:3]},
      shares=shown[0] == 'accuracy',
    ),
    headings=[property_report.COLUMNS[key][0] for key in shown],
    rows=[cells(run, shown) for run in gathered['runs']],
  )


def table(gathered: Mapping[str, Any]) -> Any:
  """Every run for a terminal of 100 columns, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=gathered['name'], box=box.SIMPLE_HEAD)
  made.add_column('run', max_width=34, no_wrap=True)
  made.add_column('params', justify='right')
  made.add_column('s', justify='right')
  shown = _shown(gathered)
  for key in shown:
    made.add_column(property_report.COLUMNS[key][0], justify='right')
  for run in gathered['runs']:
    numbers = [f'{cell["text"]} {cell["half"]}' for cell in cells(run, shown)]
    made.add_row(
      text.Text(run['label']),
      f'{run["encoder"]["num_params"]:,}',
      f'{run["encoder"]["train_seconds"]:.0f}',
      *numbers,
    )
  return made


def cells(run: Mapping[str, Any], shown: list[str]) -> list[dict[str, str]]:
  """Value, interval and half its width of every shown metric of a run."""
  made = []
  for key in shown:
    _, factor, form = property_report.COLUMNS[key]
    stat = run['metrics'].get(key)
    if stat is None:
      made.append({'text': '-', 'interval': '', 'half': ''})
      continue
    sides = [stat.get('low'), stat.get('high')]
    known = None not in sides
    low, high = (factor * side for side in sides) if known else (0.0, 0.0)
    made.append(
      {
        'text': format(factor * stat['value'], form),
        'interval': f'{low:{form}}–{high:{form}}' if known else '',
        'half': f'±{(high - low) / 2:{form}}' if known else '',
      }
    )
  return made


def _shown(gathered: Mapping[str, Any]) -> list[str]:
  """Metrics that any run has, in the order of the columns."""
  found = set(itertools.chain.from_iterable(run['metrics'] for run in gathered['runs']))
  return [key for key in property_report.COLUMNS if key in found]
