"""Runs of a sweep that generate networks that draw, side by side."""

from collections.abc import Mapping
from typing import Any

from wsjax.evaluation.report import comparison, figures, report
from wsjax.experiments import inr_report

_PANELS = ('nna', 'nna_worse', 'legible', 'half_rate', 'copy_rate')
_SHOWN = ('nna', 'nna_worse', 'coverage', 'legible', 'novelty', 'half_rate', 'copy_rate')


def gather(name: str, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Collects the generator arms of several reports.

  Args:
    name: of the sweep.
    reports: run name -> report, in the order of the sweep.

  Returns:
    What `page` takes: one entry per run.
  """
  return {
    'schema_version': report.SCHEMA_VERSION,
    'name': name,
    'runs': [
      {
        'run': run,
        'label': run,
        'n': made['arms'][0]['n'],
        'metrics': made['arms'][0]['metrics'],
        'headline': inr_report.headline(made),
        'overrides': made.get('overrides', {}),
        'zoo_digest': made['drawing']['zoo_digest'],
      }
      for run, made in reports.items()
    ],
  }


def page(gathered: Mapping[str, Any]) -> str:
  """HTML of the table, for `report.publish`."""
  runs = gathered['runs']
  return report.render(
    'inr_comparison.html.j2',
    name=gathered['name'],
    runs=runs,
    figure=figures.intervals(
      [(run['label'], run['metrics']) for run in runs],
      {key: inr_report.COLUMNS[key][0] for key in _PANELS},
    ),
    headings=_headings(),
    rows=[_cells(run) for run in runs],
  )


def table(gathered: Mapping[str, Any]) -> Any:
  """Every run for a terminal of 100 columns, as a rich.table.Table."""
  return comparison.side_by_side(
    gathered, _headings(), lambda run: [cell['value'] for cell in _cells(run)]
  )


def _headings() -> list[str]:
  return [inr_report.COLUMNS[key][0] for key in _SHOWN]


def _cells(run: Mapping[str, Any]) -> list[dict[str, str]]:
  """A cell per shown metric."""
  found = inr_report.arm_cells(run['metrics'])
  every = dict(zip(inr_report.COLUMNS, found, strict=True))
  return [every[key] for key in _SHOWN]
