"""A report in a terminal: its headline, findings, and tables that fit the width."""

from collections.abc import Iterator
from typing import Any

from wsjax import terminal
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model

_NAME = 30  # Columns of the longest name that is shown in full.


def show(report: model.Report) -> None:
  """Prints the first table of a report, its findings and its notes."""
  out = terminal.console()
  first, *others = tables(report, out.width)
  out.print(first)
  if others:
    terminal.show_line(f'{len(others)} more in the page.')
  for line in lines(report):
    terminal.show_line(line)


def lines(report: model.Report) -> list[str]:
  """Headline, findings and notes, without characters that control a terminal."""
  said = [report.headline, *(f'{key}: {value}' for key, value in report.findings.items())]
  return [terminal.plain(line) for line in [*said, *report.notes]]


def tables(report: model.Report, width: int = 100) -> Iterator[Any]:
  """Yields a rich.table.Table per table of the report.

  Where `width` columns suffice, a number has half the width of its interval beside it; metrics that
  do not fit are left out, the last first.
  """
  from rich import box, text
  from rich import table as rich_table

  for table in report.tables.values():
    metrics, cells = _fit(table, width)
    left = len(table.short) - len(metrics)
    caption = f'{left} more columns are in the page.' if left else None
    made = rich_table.Table(
      title=text.Text(terminal.plain(table.title)),
      caption=caption,
      box=box.SIMPLE_HEAD,
      padding=(0, 1, 0, 0),
    )
    made.add_column('method', no_wrap=True, max_width=_NAME)
    made.add_column('n', justify='right')
    for metric in metrics:
      made.add_column(text.Text(terminal.plain(metric.column)), justify='right', no_wrap=True)
    for kind in model.KINDS:
      rows = [name for name, row in table.rows.items() if row.kind == kind]
      for name in rows:
        made.add_row(
          text.Text(terminal.plain(name)),
          str(table.rows[name].n),
          *(text.Text(column[name]) for column in cells),
          style='bold' if kind == 'model' and len(rows) < len(table.rows) else None,
        )
      if rows:
        made.add_section()
    yield made


def _fit(table: model.Table, width: int) -> tuple[list[metric_lib.Metric], list[dict[str, str]]]:
  """Metrics that fit a width, and the cells of each: row -> text."""
  left = width - min(_NAME, max(map(len, [*table.rows, 'method']))) - 6
  left -= max(len(str(row.n)) for row in table.rows.values())
  plain = {m.name: _column(table, m, wide=False) for m in table.short}
  shown = []
  for metric in table.short:
    if (need := _width(metric, plain[metric.name])) > left:
      break
    shown.append(metric)
    left -= need
  cells = []
  for metric in shown:  # What is left goes to intervals, of the first metrics first.
    wide = _column(table, metric, wide=True)
    extra = _width(metric, wide) - _width(metric, plain[metric.name])
    fits = extra <= left
    left -= extra * fits
    cells.append(wide if fits else plain[metric.name])
  return shown, cells


def _width(metric: metric_lib.Metric, cells: dict[str, str]) -> int:
  return 2 + max(map(len, [metric.column, *cells.values()]))


def _column(table: model.Table, metric: metric_lib.Metric, *, wide: bool) -> dict[str, str]:
  """Row -> text of one metric, with half the width of the interval if `wide`."""
  made = {}
  for name, row in table.rows.items():
    stat = row.stats.get(metric.name, {})
    made[name] = metric.text(stat.get('value'))
    if wide and None not in (stat.get('low'), stat.get('high')):
      half = metric.text((stat['high'] - stat['low']) / 2)
      made[name] += f' ±{half.lstrip("+")}'
  return made
