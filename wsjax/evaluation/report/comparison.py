"""Runs of a sweep side by side: sweep.json, a page, a terminal table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsjax.evaluation.metrics import accuracy, novelty
from wsjax.evaluation.report import report, verdict

PANELS = {
  'accuracy': 'accuracy',
  'gate_strict': 'strict gate G',
  'gate_half': 'half gate G½',
  'gate_behaviour': 'behaviour gate G_b',
  'copy_rate': 'copies',
}
_METRICS = (
  accuracy.accuracy,
  novelty.gate_strict,
  novelty.gate_half,
  novelty.gate_behaviour,
  novelty.copy_rate,
  novelty.novelty,
  novelty.max_iou,
)


def gather(name: str, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Collects the generator arms of several reports.

  Args:
    name: of the sweep.
    reports: run name -> report, in the order of the sweep.

  Returns:
    What `write` takes: one entry per run and generator arm.

  Raises:
    ValueError: if no report has a generator arm.
  """
  runs = []
  for run, made in reports.items():
    arms = [arm for arm in made['arms'] if arm['kind'] == 'generator']
    for arm in arms:
      runs.append(
        {
          'run': run,
          'label': run if len(arms) == 1 else f'{run}: {arm["name"]}',
          'arm': arm['name'],
          'n': arm['n'],
          'metrics': arm['metrics'],
          'headline': verdict.headline(made),
          'overrides': made.get('overrides', {}),
          'zoo_digest': made['zoo'].get('digest'),
        }
      )
  if not runs:
    raise ValueError(f'No run of the sweep {name!r} has a generator to compare.')
  return {'schema_version': report.SCHEMA_VERSION, 'name': name, 'runs': runs}


def page(gathered: Mapping[str, Any]) -> str:
  """HTML of the table, for `report.publish`.

  Args:
    gathered: as `gather` returns it.
  """
  from wsjax.evaluation.report import figures

  runs = gathered['runs']
  return report.render(
    'comparison.html.j2',
    name=gathered['name'],
    runs=runs,
    figure=figures.intervals([(run['label'], run['metrics']) for run in runs], PANELS),
    columns={metric.name: metric.column for metric in _METRICS},
    rows=[_cells(run) for run in runs],
  )


def table(gathered: Mapping[str, Any]) -> Any:
  """Every run for a terminal of 100 columns, as a rich.table.Table."""
  return side_by_side(
    gathered,
    [metric.column for metric in _METRICS],
    lambda run: [cell['text'] for cell in _cells(run)],
  )


def side_by_side(
  gathered: Mapping[str, Any],
  headings: Iterable[str],
  cells: Callable[[Mapping[str, Any]], Iterable[str]],
) -> Any:
  """A rich.table.Table with a row per run: its label, then its cells."""
  from rich import box, text
  from rich import table as rich_table

  made = rich_table.Table(title=gathered['name'], box=box.SIMPLE_HEAD)
  made.add_column('run', max_width=34, no_wrap=True)
  for heading in headings:
    made.add_column(heading, justify='right', no_wrap=True)
  for run in gathered['runs']:
    made.add_row(text.Text(run['label']), *cells(run))
  return made


def _cells(run: Mapping[str, Any]) -> list[dict[str, str]]:
  """Value and interval of every shown metric of a run."""
  cells = []
  for metric in _METRICS:
    stat = run['metrics'].get(metric.name) or {}
    reason = stat.get('not_run', 'not part of this evaluation')
    measured = stat.get('value') is not None
    cells.append(
      {
        'text': metric.text(stat.get('value')),
        'interval': metric.interval(stat),
        'title': '' if measured else f'not run: {reason}',
      }
    )
  return cells
