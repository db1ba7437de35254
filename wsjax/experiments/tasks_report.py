"""Report of an experiment that generates networks for unseen tasks."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import figures, formatting, report

# Metric -> heading; all are shares, shown in percent.
COLUMNS = {'accuracy': 'accuracy %', 'gap': 'gap, pt', 'worst': 'worst gap, pt'}
# Largest mean gap to networks trained one by one that passes, and fewest tasks.
BAR, NUM_TASKS = 0.01, 100
_REQUIRED = (
  'name', 'config', 'versions', 'tasks', 'generator', 'rows', 'training',
)  # fmt: skip


def check(result: Mapping[str, Any]) -> None:
  """Raises ValueError unless a report has what the page needs."""
  if missing := [key for key in _REQUIRED if key not in result]:
    raise ValueError(f'fields are missing: {", ".join(missing)}.')
  for row in result['rows']:
    if absent := sorted(set(COLUMNS) - set(row['metrics'])):
      raise ValueError(f'the row {row["name"]!r} lacks {absent[0]!r}.')
  kinds = [row['kind'] for row in result['rows'][:2]]
  if kinds != ['reference', 'generator']:
    raise ValueError(f'the first rows are {kinds}, not reference, generator.')


def page(result: Mapping[str, Any]) -> str:
  """HTML that needs nothing else: figures and style are inside."""
  return report.render(
    'tasks.html.j2',
    report=result,
    headline=headline(result),
    verdict=verdict(result),
    headings=list(COLUMNS.values()),
    rows=rows(result),
    training=figures.training(result),
    clock=report.clock(result),
  )


def headline(result: Mapping[str, Any]) -> str:
  """The finding in one sentence."""
  trained, generated = result['rows'][:2]
  tasks = result['tasks']
  leak = tasks['complements_seen']
  return (
    f'Networks {generated["name"]} of {tasks["num_test"]} unseen tasks '
    f'({leak or "no"} complement{"" if leak == 1 else "s"} seen) are right for '
    f'{_percent(generated["metrics"]["accuracy"])} %, '
    f'{_percent(generated["metrics"]["gap"], ".2f")} pt'
    f'{formatting.sides(generated["metrics"]["gap"], ".2f", 100)} below those '
    f'trained one by one ({_percent(trained["metrics"]["accuracy"])} %).'
  )


def verdict(result: Mapping[str, Any]) -> str:
  """Whether the bar is met, and which baselines are as good or better."""
  _, generated = result['rows'][:2]
  gap = generated['metrics']['gap']['value']
  tasks = result['tasks']
  met = gap <= BAR and tasks['num_test'] >= NUM_TASKS and not tasks['complements_seen']
  better = [
    row['name']
    for row in result['rows'][2:]
    if row['kind'] == 'baseline' and row['metrics']['gap']['value'] <= gap
  ]
  return (
    f'The bar, a mean gap of at most {100 * BAR:g} pt on {NUM_TASKS} tasks or '
    f'more of which no complement was seen, is {"met" if met else "not met"}. '
    f'Baselines that are as good or better: {"; ".join(better) or "none"}.'
  )


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Name, kind, n, worst task, time, and a cell per metric."""
  made = []
  for row in result['rows']:
    seconds = row['seconds_per_net']
    made.append(
      {
        'name': row['name'],
        'kind': row['kind'],
        'n': row['n'],
        'cells': [
          formatting.cell(row['metrics'][key], '.1f' if key == 'worst' else '.2f', 100)
          for key in COLUMNS
        ],
        'worst_task': row['worst_task'],
        'time': '–' if seconds is None else f'{1e3 * seconds:.3g} ms',
      }
    )
  return made


def table(result: Mapping[str, Any]) -> Any:
  """The result for a terminal, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=headline(result), caption=verdict(result), box=box.SIMPLE_HEAD)
  made.add_column('networks')
  for heading in (*COLUMNS.values(), 'per network'):
    made.add_column(heading, justify='right')
  for row in rows(result):
    made.add_row(
      text.Text(row['name']),
      *(text.Text(f'{c["value"]} {c["interval"]}') for c in row['cells'][:2]),
      row['cells'][2]['value'],
      row['time'],
      style='bold' if row['kind'] == 'generator' else None,
    )
  return made


def _percent(stat: Mapping[str, Any], form: str = '.1f') -> str:
  return format(100 * stat['value'], form)
