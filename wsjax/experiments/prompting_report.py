"""Report of an experiment that updates networks by a prompt."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import figures, formatting, report
from wsjax.experiments import prompting_figures

# Metric -> (heading, factor, format).
COLUMNS = {
  'accuracy': ('accuracy %', 100, '.2f'),
  'loss': ('test loss, nats', 1, '.4f'),
  'own_ratio': ('L2 to own run / to others', 1, '.3f'),
  'own_nearest': ('own run nearest %', 100, '.0f'),
  'nearest': ('L2 to nearest training run', 1, '.2f'),
}
_REQUIRED = (
  'name', 'config', 'versions', 'prompting', 'model', 'rows', 'control',
  'novelty', 'recipe', 'cost', 'training',
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
    'prompting.html.j2',
    report=result,
    headline=headline(result),
    findings=findings(result),
    headings=[heading for heading, _, _ in COLUMNS.values()],
    rows=rows(result),
    control=prompting_figures.control(result),
    training=figures.training(result),
    clock=report.clock(result),
  )


def headline(result: Mapping[str, Any]) -> str:
  """The finding in one sentence."""
  asked, run = result['rows'][1], result['rows'][-1]
  return (
    f'{asked["name"].capitalize()}, from starts that no training saw: '
    f'{_text(asked, "accuracy")} % accuracy; training runs of '
    f'{result["recipe"][-1]["step"]} steps: {_text(run, "accuracy")} %.'
  )


def findings(result: Mapping[str, Any]) -> list[str]:
  """Control, cost and distance, one sentence each."""
  nats = result['control']['test nats']
  lines = []
  if nats['inside']['r2']['value'] is not None:
    r2, retrieved = nats['inside']['r2'], nats['retrieval']['r2']
    lines.append(
      'Requests within the losses of the zoo against test loss: R2 '
      f'{r2["value"]:.3f}{formatting.sides(r2, ".3f")}; the nearest training '
      f'checkpoint, all requests: {retrieved["value"]:.3f}.'
    )
  accuracy = result['rows'][1]['metrics']['accuracy']['value']
  reached = [x['step'] for x in result['recipe'] if x['accuracy'] >= accuracy]
  lines.append(
    f'One pass takes {1000 * result["cost"]["seconds"]:.2f} ms, as long as '
    f'{result["cost"]["sgd_steps"]} SGD steps; training runs are as accurate '
    + (f'after {reached[0]} steps.' if reached else 'at no checkpoint.')
  )
  far = result['novelty']
  lines.append(
    'Median distance to the nearest training run, over that of training runs '
    f'from each other: {far["raw"] / far["raw_zoo"]:.2f} as they stand, '
    f'{far["matched"] / far["matched_zoo"]:.2f} with units matched; of '
    'results from different starts, matched, over the same: '
    f'{far["matched_self"] / far["matched_zoo"]:.2f} ({far["n"]} networks of '
    'the first training seed).'
  )
  return lines


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Name, number of networks, and a cell per metric: value, interval, seeds."""
  return [
    {
      'name': row['name'],
      'n': row['n'],
      'cells': [
        formatting.cell(row['metrics'][key], form, factor)
        for key, (_, factor, form) in COLUMNS.items()
      ],
    }
    for row in result['rows']
  ]


def table(result: Mapping[str, Any]) -> Any:
  """The result for a terminal, as a rich.table.Table."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(
    title=headline(result), caption=' '.join(findings(result)), box=box.SIMPLE_HEAD
  )
  made.add_column('weights')
  made.add_column('n', justify='right')
  for heading, _, _ in COLUMNS.values():
    made.add_column(heading, justify='right')
  for row in rows(result):
    made.add_row(
      text.Text(row['name']),
      str(row['n']),
      *(text.Text(f'{c["value"]} {c["interval"]}') for c in row['cells']),
    )
  return made


def _text(row: Mapping[str, Any], key: str) -> str:
  _, factor, form = COLUMNS[key]
  return format(factor * row['metrics'][key]['value'], form)
