"""Reports as data: tables with rows by name, figures, notes and facts."""

import dataclasses
import functools
import io
import math
import os
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, cast

from wsjax import files
from wsjax.evaluation import metric as metric_lib

SCHEMA_VERSION = '2.0.0'
# Kind of a row -> its heading. The models that an experiment trained come first.
KINDS = {
  'model': 'Models', 'baseline': 'Baselines', 'control': 'Controls', 'ceiling': 'Ceilings',
  'reference': 'References',
}  # fmt: skip


@dataclasses.dataclass
class Row:
  """Measurements of one method.

  Attributes:
    n: number of networks.
    stats: metric name -> number with its interval, or the reason why there is none.
    kind: key of `KINDS`.
    seeds: training seeds of the method, if it was trained.
    flags: name and evidence of every reason for distrust; None if none were looked for.
    per_network: metric name -> one number per network, None where there is none.
    link: relative address of a page about the method, '' if there is none.
  """

  n: int
  stats: dict[str, metric_lib.Stat]
  kind: str = 'model'
  seeds: list[int] = dataclasses.field(default_factory=list)
  flags: list[dict[str, str]] | None = None
  per_network: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)
  link: str = ''

  def __post_init__(self) -> None:
    if self.kind not in KINDS:
      raise ValueError(f'kind is {self.kind!r}; allowed: {", ".join(KINDS)}.')

  def value(self, name: str) -> float | None:
    """Value of a metric; None if it was not measured."""
    return self.stats[name]['value'] if name in self.stats else None


@dataclasses.dataclass
class Table:
  """Methods beside each other.

  Attributes:
    title: heading.
    metrics: columns.
    rows: method -> its measurements, in the order shown within a kind.
    doc: sentences above the table.
    summary: names of the metrics that a terminal and a sweep show; all of them if it is empty.
  """

  title: str
  metrics: tuple[metric_lib.Metric, ...]
  rows: dict[str, Row]
  doc: str = ''
  summary: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    names = [metric.name for metric in self.metrics]
    if unknown := sorted({key for row in self.rows.values() for key in row.stats} - set(names)):
      raise ValueError(f'no metric of table {self.title!r} is called {unknown[0]!r}.')
    if unknown := sorted(set(self.summary) - set(names)):
      raise ValueError(f'summary names {unknown[0]!r}, which is no metric of {self.title!r}.')

  @property
  def shown(self) -> tuple[metric_lib.Metric, ...]:
    """Metrics that any row has, in the order of the columns."""
    found = {key for row in self.rows.values() for key in row.stats}
    return tuple(metric for metric in self.metrics if metric.name in found)

  @property
  def short(self) -> tuple[metric_lib.Metric, ...]:
    """Metrics for a terminal or a sweep."""
    return tuple(m for m in self.shown if not self.summary or m.name in self.summary)


@dataclasses.dataclass
class Figure:
  """Data of a figure.

  Attributes:
    plot: function of `report.plots`; '' if the figure was not made.
    data: its arguments. A 'table' names a table of the report. Without a plot: 'not_run', why.
    title: heading.
    caption: sentences below.
  """

  plot: str
  data: dict[str, Any]
  title: str = ''
  caption: str = ''


@dataclasses.dataclass
class Run:
  """Where the numbers of a report come from.

  Attributes:
    name: of the config, or of the sweep.
    config: all fields of the config.
    overrides: fields that the command line changed -> their value.
    versions: package -> version.
    device: number and kind of the devices.
    processes: of the run.
    created_at: ISO 8601.
    wall_seconds: stage -> seconds, summed over restarts.
    goodput: training -> how its time was spent.
  """

  name: str = ''
  config: dict[str, Any] = dataclasses.field(default_factory=dict)
  overrides: dict[str, str] = dataclasses.field(default_factory=dict)
  versions: dict[str, str] = dataclasses.field(default_factory=dict)
  device: str = ''
  processes: int = 1
  created_at: str = ''
  wall_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  goodput: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Report:
  """Result of an experiment; the page, the terminal and sweeps are rendered from it.

  Attributes:
    headline: the finding in one sentence.
    tables: name -> table; the first is the result, and what a sweep compares.
    figures: name -> figure.
    findings: topic -> sentence.
    notes: sentences about how it was made.
    facts: heading -> name -> JSON value.
    experiment: kind of experiment, filled in by `run.run`, as is `run`.
    run: config, versions and times.
  """

  headline: str
  tables: dict[str, Table]
  figures: dict[str, Figure] = dataclasses.field(default_factory=dict)
  findings: dict[str, str] = dataclasses.field(default_factory=dict)
  notes: list[str] = dataclasses.field(default_factory=list)
  facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  experiment: str = ''
  run: Run = dataclasses.field(default_factory=Run)

  def plain(self) -> dict[str, Any]:
    """The report in the types of JSON.

    Raises:
      ValueError: naming the field, for a value that JSON lacks and a number that is not finite.
    """
    return {'schema_version': SCHEMA_VERSION} | _plain(self, 'report')

  def __str__(self) -> str:
    """Headline, findings and tables as text."""
    from rich import console

    from wsjax.evaluation.report import terminal

    text = console.Console(width=120, color_system=None, file=io.StringIO())
    with text.capture() as captured:
      for line in [*terminal.lines(self), *terminal.tables(self, 120)]:
        text.print(line, markup=False, highlight=False)
    return captured.get()

  def _repr_html_(self) -> str:
    """The page in a frame; a notebook shows it."""
    from wsjax.evaluation.report import html

    page = escape(html.page(self))
    return f'<iframe srcdoc="{page}" style="width: 100%; height: 45em; border: 0"></iframe>'

  def save(self, folder: str | os.PathLike) -> pathlib.Path:
    """Writes report.html and report.json; returns the path of the page, see `write`."""
    from wsjax.evaluation.report import html

    return self.write(folder, html.page)

  @classmethod
  def from_plain(cls, value: Any) -> 'Report':
    """Reads what `plain` gave.

    Raises:
      ValueError: naming the field, for what is missing, unknown or of another type.
    """
    if not isinstance(value, dict) or 'schema_version' not in value:
      raise ValueError('it has no schema_version.')
    if (version := value['schema_version']) != SCHEMA_VERSION:
      raise ValueError(f'schema_version is {version!r}, not {SCHEMA_VERSION!r}.')
    fields = {key: item for key, item in value.items() if key != 'schema_version'}
    return _read(cls, fields, 'report')

  def write(
    self, folder: str | os.PathLike, page: Callable[['Report'], str], *, stem: str = 'report'
  ) -> pathlib.Path:
    """Writes stem.html and then stem.json, each in one step; with both, the report is complete.

    Args:
      folder: made if it is not there.
      page: HTML of a report. It gets the report as it is read again, so that a page rendered from
        the file has equal bytes.
      stem: name of both files.

    Returns:
      Path of stem.html.

    Raises:
      ValueError: naming the field, if one has the wrong type or a number is not finite.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    value = self.plain()
    files.replace(folder / f'{stem}.html', page(Report.from_plain(value)))
    files.replace(folder / f'{stem}.json', files.seal(value, sort_keys=False))
    return folder / f'{stem}.html'


def load(folder: str | os.PathLike, *, stem: str = 'report') -> Report:
  """Reads stem.json of a folder that `Report.write` wrote to.

  Raises:
    ValueError: if there is no such file, or it is not a report of this version.
  """
  path = pathlib.Path(folder) / f'{stem}.json'
  try:
    return Report.from_plain(files.read_sealed(path))
  except FileNotFoundError:
    raise ValueError(f'There is no report at {path}.') from None
  except ValueError as error:
    raise ValueError(f'{path} is no report of this version: {error}') from error


def missing(title: str, reason: str) -> Figure:
  """A figure that was not made, and why."""
  return Figure('', {'not_run': reason}, title)


def _plain(value: Any, where: str) -> Any:
  """The value in the types of JSON; raises ValueError naming `where`."""
  if isinstance(value, metric_lib.Metric):
    return value.declaration()
  if dataclasses.is_dataclass(value):
    value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
  if isinstance(value, Mapping):
    return {str(key): _plain(item, f'{where}.{key}') for key, item in value.items()}
  if hasattr(value, 'tolist'):  # NumPy or JAX.
    value = value.tolist()
  if isinstance(value, list | tuple):
    return [_plain(item, f'{where}[{i}]') for i, item in enumerate(value)]
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError(
      f'{where} is {value}; every number of a report must be finite, and one that '
      "was not measured is {'value': None, 'not_run': reason}."
    )
  if value is None or isinstance(value, str | bool | int | float):
    return value
  raise ValueError(f'{where} is a {type(value).__name__}, which JSON lacks.')


def _read(kind: Any, value: Any, where: str) -> Any:
  """A JSON value as an object of a type hint; raises ValueError naming `where`."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if kind is Any:
    return value
  if kind is metric_lib.Stat:
    return _stat(value, where)
  if dataclasses.is_dataclass(kind):
    return _object(kind, value, where)
  if origin in (types.UnionType, typing.Union):
    if value is None and type(None) in inner:
      return None
    return _read(inner[0], value, where)
  if origin is typing.Literal and value in inner:
    return value
  if origin is dict and isinstance(value, dict):
    return {key: _read(inner[1], item, f'{where}.{key}') for key, item in value.items()}
  if origin in (list, tuple) and isinstance(value, list):
    return origin(_read(inner[0], item, f'{where}[{i}]') for i, item in enumerate(value))
  if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
    if not -1e300 < value < 1e300:
      raise ValueError(f'{where} is out of range.')
    return value
  if kind in (str, int) and type(value) is kind:
    return value
  name = kind if origin is typing.Literal else (origin or kind).__name__
  raise ValueError(f'{where} is {str(value)[:60]!r}, not of the type {name}.')


def _object(kind: Any, value: Any, where: str) -> Any:
  """A JSON object as a dataclass."""
  hints = {name: hint for name, hint in _hints(kind).items() if name != 'compute'}
  if not isinstance(value, dict):
    raise ValueError(f'{where} is not an object.')
  if unknown := sorted(set(value) - set(hints)):
    raise ValueError(f'{where} has {unknown[0][:60]!r}; allowed: {", ".join(hints)}.')
  made = {key: _read(hints[key], item, f'{where}.{key}') for key, item in value.items()}
  try:
    return kind(**made)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{where}: {str(error).removeprefix("Report.__init__() ")}') from None


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
  """Field -> type of a dataclass or a TypedDict."""
  return typing.get_type_hints(kind)


def _stat(value: Any, where: str) -> metric_lib.Stat:
  """Checks a number with its interval, or the reason why there is none."""
  if not isinstance(value, dict) or 'value' not in value:
    raise ValueError(f'{where} has no value.')
  hints = _hints(metric_lib.Stat)
  if unknown := sorted(set(value) - set(hints)):
    raise ValueError(f'{where} has {unknown[0][:60]!r}; allowed: {", ".join(hints)}.')
  made = {key: _read(hints[key], item, f'{where}.{key}') for key, item in value.items()}
  if made['value'] is None and not made.get('not_run'):
    raise ValueError(f'{where} has neither a value nor a reason not_run.')
  low, high = made.get('low'), made.get('high')
  if (low is None) != (high is None) or (low is not None and high is not None and low > high):
    raise ValueError(f'{where} has the interval {low} to {high}.')
  return cast(metric_lib.Stat, made)
