"""Metrics: one object declares a number of a report and computes it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NotRequired, TypedDict

Better = Literal['higher', 'lower', 'none']


class Stat(TypedDict):
  """One number of a report, or why there is none.

  Attributes:
    value: the estimate; None where it was not measured.
    low: lower end of the 95 % interval; None if there is no interval.
    high: upper end.
    n: number of networks behind the value.
    method: how the interval was made; 'none' if there is none.
    not_run: why there is no value.
    per_seed: value of each training seed; None for a seed without one.
    p: p-value of the test that the value belongs to.
    heldout: the metric of held-out networks, for comparison.
    threshold: threshold that the metric counts by.
    note: one sentence for readers.
  """

  value: float | None
  low: NotRequired[float | None]
  high: NotRequired[float | None]
  n: NotRequired[int]
  method: NotRequired[str]
  not_run: NotRequired[str]
  per_seed: NotRequired[list[float | None]]
  p: NotRequired[float]
  heldout: NotRequired[float]
  threshold: NotRequired[float]
  note: NotRequired[str]


class NotRun(Exception):
  """Raised by a metric that cannot be measured here; its text is the reason in the report."""


@dataclasses.dataclass(frozen=True)
class Metric:
  """Everything about one number: its name, its words, how it is shown and computed.

  Attributes:
    name: key in reports, an identifier.
    label: what the number is called in text.
    unit: of the value, for example 'nats'; '' for a pure number.
    better: whether 'higher' or 'lower' is better; 'none' if neither.
    group: heading of the block of the table that shows it.
    format: of the value, as in `format`; one that ends with '%' shows 100 times the value, and the
      heading of the column carries the sign.
    doc: one to three sentences that explain it.
    heading: of the column; the label if it is ''.
    flag: reason for distrust that a small p-value of the number gives; '' if it gives none.
    compute: (method, reference) -> Stat, of a `sample.Sample` and its `reference.Reference`; it may
      raise `NotRun`. None if the experiment computes it itself.
  """

  name: str
  label: str
  unit: str = ''
  better: Better = 'none'
  group: str = ''
  format: str = '.3g'
  doc: str = ''
  heading: str = ''
  flag: str = ''
  compute: Callable[[Any, Any], Stat] | None = None

  def __post_init__(self) -> None:
    if not self.name.isidentifier():
      raise ValueError(f'Metric.name must be an identifier; got {self.name!r}.')
    if self.better not in ('higher', 'lower', 'none'):
      raise ValueError(
        f'Metric {self.name!r} has better={self.better!r}; allowed: higher, lower, none.'
      )
    try:
      format(1.0, self.format)
    except ValueError as error:
      raise ValueError(
        f'Metric {self.name!r} has format={self.format!r}, which no number takes: {error}.'
      ) from None

  def __call__(self, method: Any, reference: Any) -> Stat:
    """Computes the metric; what raises NotRun has no value and the reason.

    Raises:
      ValueError: if the metric has no `compute`.
    """
    if self.compute is None:
      raise ValueError(f'Metric {self.name!r} is computed by its experiment, not by itself.')
    try:
      return self.compute(method, reference)
    except NotRun as error:
      return {'value': None, 'not_run': str(error)}

  @property
  def column(self) -> str:
    """Heading of the column, with ' %' for shares."""
    heading = self.heading or self.label
    return f'{heading} %' if self.format.endswith('%') else heading

  def text(self, value: float | None) -> str:
    """The number as a cell of a table shows it; '–' for None and for what is not finite."""
    if value is None or not math.isfinite(value):
      return '–'
    return format(value, self.format).removesuffix('%')

  def with_unit(self, value: float | None) -> str:
    """The number as running text shows it, a share with its ' %'."""
    return self.text(value) + (' %' if self.format.endswith('%') and value is not None else '')

  def interval(self, stat: Stat | None) -> str:
    """The interval as 'low–high', with a negative end as '−0.1 to 0.2'; '' where there is none."""
    ends = [stat.get('low'), stat.get('high')] if stat else [None]
    if None in ends:
      return ''
    texts = list(map(self.text, ends))
    if any(text.startswith('-') for text in texts):
      return ' to '.join('\N{MINUS SIGN}' * (t[0] == '-') + t.removeprefix('-') for t in texts)
    return '–'.join(texts)

  def declaration(self) -> dict[str, str]:
    """The fields but for `compute`, as JSON."""
    fields = dataclasses.asdict(self)
    del fields['compute']
    return fields


def metric(
  label: str, format: str = '.3g', **fields: Any
) -> Callable[[Callable[[Any, Any], Stat]], Metric]:
  """Decorator that makes a `Metric` of the function that computes it.

  Args:
    label: what the number is called in text.
    format: of the value.
    **fields: other fields of `Metric`. By default the name is that of the function, the unit is
      'share' for a format with '%', the group is `GROUP` of the module, and the explanation is the
      docstring, up to 'Source:'.
  """

  def declare(function: Callable[[Any, Any], Stat]) -> Metric:
    found = {
      'name': function.__name__,
      'unit': 'share' if format.endswith('%') else '',
      'group': function.__globals__.get('GROUP', ''),
      'doc': ' '.join((function.__doc__ or '').split('Source:')[0].split()),
    }
    return Metric(label=label, format=format, compute=function, **found | fields)

  return declare
