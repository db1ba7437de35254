"""Report of an experiment that edits networks through their weights."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import figures, formatting, report
from wsjax.experiments import editing_figures

# Metric -> (heading, format).
COLUMNS = {'mse': ('MSE', '.5f'), 'psnr': ('PSNR dB', '.2f')}
_REQUIRED = (
  'name', 'config', 'versions', 'editing', 'editor', 'rows', 'equivariance',
  'pictures', 'training',
)  # fmt: skip


def check(result: Mapping[str, Any]) -> None:
  """Raises ValueError unless a report has what the page needs."""
  if missing := [key for key in _REQUIRED if key not in result]:
    raise ValueError(f'fields are missing: {", ".join(missing)}.')
  for row in result['rows']:
    if absent := sorted(set(COLUMNS) - set(row['metrics'])):
      raise ValueError(f'the row {row["name"]!r} lacks {absent[0]!r}.')


def page(result: Mapping[str, Any]) -> str:
  """HTML that needs nothing else: figures and style are inside."""
  return report.render(
    'editing.html.j2',
    report=result,
    headline=headline(result),
    symmetry=symmetry(result),
    headings=[heading for heading, _ in COLUMNS.values()],
    rows=rows(result),
    pictures=editing_figures.pictures(result),
    training=figures.training(result),
    clock=report.clock(result),
  )


def headline(result: Mapping[str, Any]) -> str:
  """The finding in one sentence."""
  edited, unedited, alike, direct = (row['metrics']['mse'] for row in result['rows'])
  form = COLUMNS['mse'][1]
  return (
    f'{result["editor"]["name"]} edits weights to {result["editing"]["edit"]} '
    f'pictures with an MSE of {edited["value"]:{form}}'
    f'{formatting.sides(edited, form)}; '
    f'no edit: {unedited["value"]:{form}}, '
    f'one factor and shift for all: {alike["value"]:{form}}, '
    f'fitted anew: {direct["value"]:{form}}.'
  )


def symmetry(result: Mapping[str, Any]) -> str:
  """How much an edit depends on the order of units, in one sentence."""
  error = result['equivariance']
  return (
    'Moving units before the edit instead of after it changes the edit by '
    f'{error["weights"]:.2g} of its size at most, and a pixel by '
    f'{error["picture"]:.2g} at most ({error["n"]} networks, random orders).'
  )


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Name, number of networks, and a cell per metric: value, interval, seeds."""
  return [
    {
      'name': row['name'],
      'n': row['n'],
      'cells': [formatting.cell(row['metrics'][key], form) for key, (_, form) in COLUMNS.items()],
    }
    for row in result['rows']
  ]


def table(result: Mapping[str, Any]) -> Any:
  """The result for a terminal, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=headline(result), caption=symmetry(result), box=box.SIMPLE_HEAD)
  made.add_column('weights')
  made.add_column('n', justify='right')
  for heading, _ in COLUMNS.values():
    made.add_column(heading, justify='right')
  for row in rows(result):
    made.add_row(
      text.Text(row['name']),
      str(row['n']),
      *(text.Text(f'{c["value"]} {c["interval"]}') for c in row['cells']),
    )
  return made
