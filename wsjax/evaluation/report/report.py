"""The report: report.json, a page that opens offline, a terminal table."""

import importlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from wsjax import files
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import columns, verdict

SCHEMA_VERSION = '1.0.0'
_REQUIRED = ('name', 'config', 'versions', 'device', 'zoo', 'arms', 'metrics')
_ZOO = ('accuracy', 'accuracy_p5', 'tau', 'loo_max_iou')
_FIGURES = {
  'novelty': ('planes', 'novelty_plane', 'arms'),
  'behaviour': ('planes', 'behaviour_plane', 'arms'),
  'histograms': ('figures', 'histograms', 'histograms'),
  'alignment': ('figures', 'alignment', 'alignment'),
  'barrier': ('figures', 'barrier', 'barrier'),
  'training': ('figures', 'training', 'training'),
  'severity': ('robustness_figures', 'severity', 'corruptions'),
  'attack': ('robustness_figures', 'attack', 'adversarial'),
  'finetuning': ('robustness_figures', 'finetuning', 'finetuning'),
}


def load(workdir: str | os.PathLike) -> dict[str, Any]:
  """Reads report.json.

  Args:
    workdir: folder that `write` wrote to.

  Returns:
    The report.

  Raises:
    ValueError: if there is none, it is truncated, or it is not a report.
  """
  report = read(workdir)
  try:
    check(report)
  except ValueError as error:
    raise ValueError(f'{workdir} holds no report of this version: {error}') from error
  return report


def read(workdir: str | os.PathLike) -> Any:
  """The JSON value in report.json, whatever it is.

  Raises:
    ValueError: if there is none or it is not as it was written.
  """
  path = pathlib.Path(workdir) / 'report.json'
  try:
    return files.read_sealed(path)
  except FileNotFoundError:
    raise ValueError(f'There is no report at {path}.') from None


def page(report: Mapping[str, Any]) -> str:
  """Renders the page.

  Args:
    report: as `load` returns it.

  Returns:
    HTML that needs nothing else: figures and style are inside.
  """
  reasons: list[str] = []
  groups = columns.groups_of(report)
  rows = {
    title: [columns.row(arm, groups, reasons) for arm in report['arms'] if arm['kind'] == kind]
    for kind, title in columns.KINDS.items()
  }
  return render(
    'report.html.j2',
    report=report,
    headline=verdict.headline(report),
    findings=verdict.findings(report),
    tiles=verdict.tiles(report),
    gates=verdict.SHORT,
    figures={name: _figure(report, name) for name in _FIGURES},
    unplaced=[
      arm['name']
      for arm in report['arms']
      if None in (verdict.value(arm, 'novelty'), verdict.value(arm, 'accuracy'))
    ],
    columns=groups,
    rows={title: arms for title, arms in rows.items() if arms},
    reasons=reasons,
    clock=clock(report),
  )


def render(template: str, **values: Any) -> str:
  """Fills a template of this room; every value is escaped, SVG excepted."""
  import jinja2

  here = pathlib.Path(__file__).parent
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader([here, here.parents[1] / 'experiments']),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters['percent'] = verdict.percent
  return environment.get_template(template).render(**values)


def publish(
  folder: str | os.PathLike, stem: str, value: Mapping[str, Any], page: Callable[[Any], str]
) -> pathlib.Path:
  """Writes stem.html and then stem.json, the mark of a run that is finished.

  Args:
    folder: made if it is not there.
    stem: name of both files.
    value: JSON-able.
    page: HTML of it. It gets the value as it is read again, keys sorted, so that a page rendered
      from the file has the same bytes.

  Returns:
    Path of stem.html.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  text = json.dumps(value, sort_keys=True, allow_nan=False)
  path = folder / f'{stem}.html'
  files.replace(path, page(json.loads(text)))
  files.replace(folder / f'{stem}.json', files.seal(value))
  return path


def clock(report: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Stages of a run and their wall seconds, the longest first."""
  seconds = report.get('wall_seconds', {})
  by_time = sorted(seconds, key=seconds.get, reverse=True)
  return [(stage, f'{seconds[stage]:.1f} s') for stage in by_time]


def table(report: Mapping[str, Any]) -> Any:
  """The result for a terminal of 100 columns.

  Args:
    report: as `load` returns it.

  Returns:
    A rich.table.Table, one row per arm, grouped by kind.
  """
  from rich import box, text
  from rich import table as rich_table

  shown = {
    'accuracy': ('accuracy %', 100, '.1f'),
    'novelty': ('dist τ', 1, '.2f'),
    'copy_rate': ('copies %', 100, '.0f'),
    'max_iou': ('IoU', 1, '.2f'),
    'gate_strict': ('G %', 100, '.0f'),
    'gate_half': ('G½ %', 100, '.0f'),
    'gate_behaviour': ('G_b %', 100, '.0f'),
    'seconds_per_net': ('s/net', 1, '.2g'),
  }
  made = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=report['name'])
  made.add_column('arm', no_wrap=True, max_width=26)
  made.add_column('n', justify='right')
  for heading, _, _ in shown.values():
    made.add_column(heading, justify='right', no_wrap=True)
  for kind in columns.KINDS:
    arms = [arm for arm in report['arms'] if arm['kind'] == kind]
    for arm in arms:
      cells = [
        _cell(arm['metrics'].get(key), factor, form, key == 'accuracy')
        for key, (_, factor, form) in shown.items()
      ]
      style = 'bold' if kind == 'generator' else None
      # Text, not markup: a name may hold brackets.
      made.add_row(text.Text(arm['name']), str(arm['n']), *cells, style=style)
    if arms:
      made.add_section()
  return made


def _cell(stat: Mapping[str, Any] | None, factor: float, form: str, wide: bool) -> str:
  """A value, with half the width of its interval where there is room."""
  if stat is None or stat['value'] is None:
    return '-'
  text = format(factor * stat['value'], form)
  if wide and None not in (stat.get('low'), stat.get('high')):
    text += f' ±{factor * (stat["high"] - stat["low"]) / 2:{form}}'
  return text


def _figure(report: Mapping[str, Any], name: str) -> dict[str, str]:
  """SVG of a figure, or why there is none."""
  module, function, section = _FIGURES[name]
  data = report.get(section)
  if not data or (isinstance(data, dict) and 'not_run' in data):
    reason = 'not part of this evaluation'
    if isinstance(data, dict):
      reason = data.get('not_run', reason)
    return {'svg': '', 'not_run': reason}
  draw = getattr(importlib.import_module(f'wsjax.evaluation.report.{module}'), function)
  return {'svg': draw(report), 'not_run': ''}


def plain(value: Any, where: str) -> Any:
  """The same in JSON's own types.

  Raises:
    ValueError: naming `where` for what JSON has not, and for a number that is not finite.
  """
  if isinstance(value, Mapping):
    return {str(key): plain(item, f'{where}.{key}') for key, item in value.items()}
  if hasattr(value, 'tolist'):  # NumPy or JAX.
    value = value.tolist()
  if isinstance(value, list | tuple):
    return [plain(item, f'{where}[{i}]') for i, item in enumerate(value)]
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError(
      f'{where} is {value}; every number of a report must be finite, and what '
      "was not measured is {'value': None, 'not_run': reason}."
    )
  if value is None or isinstance(value, str | bool | int | float):
    return value
  raise ValueError(f'{where} is a {type(value).__name__}, which JSON has not.')


def check(report: Any) -> None:
  """Raises ValueError unless the report has what the page needs."""
  if not isinstance(report, dict) or 'schema_version' not in report:
    raise ValueError('it has no schema_version.')
  version = report['schema_version']
  if version != SCHEMA_VERSION:
    raise ValueError(f'schema_version is {version!r}, not {SCHEMA_VERSION!r}.')
  missing = [key for key in _REQUIRED if key not in report]
  if missing:
    raise ValueError(f'fields are missing: {", ".join(missing)}.')
  zoo = report['zoo']
  missing = [key for key in _ZOO if not isinstance(zoo, dict) or key not in zoo]
  if missing:
    raise ValueError(f'zoo lacks {", ".join(missing)}.')
  for name in ('accuracy_p5', 'tau'):
    if not isinstance(zoo[name], int | float):
      raise ValueError(f'zoo.{name} is {zoo[name]!r}, not a number.')
  for name in ('accuracy', 'loo_max_iou'):
    _check_stat(zoo[name], f'zoo.{name}')
  for name, fields in report['metrics'].items():
    metric_lib.Metric.declared(name, fields)
  for i, arm in enumerate(report['arms']):
    absent = [key for key in ('name', 'kind', 'n', 'metrics') if key not in arm]
    if absent:
      raise ValueError(f'arms[{i}] lacks {", ".join(absent)}.')
    if arm['kind'] not in columns.KINDS:
      raise ValueError(f'arms[{i}].kind is {arm["kind"]!r}; allowed: {", ".join(columns.KINDS)}.')
    for metric, stat in arm['metrics'].items():
      _check_stat(stat, f'arms[{i}].metrics.{metric}')


def _check_stat(stat: Any, where: str) -> None:
  """Raises ValueError unless it is a value or says why there is none."""
  if not isinstance(stat, dict) or 'value' not in stat:
    raise ValueError(f'{where} is {stat!r}, which has no value.')
  if stat['value'] is None and not stat.get('not_run'):
    raise ValueError(f'{where} has neither a value nor a reason not_run.')
