"""Metrics: a file per group; each metric is one object that declares and computes itself."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from wsjax import config as config_lib
from wsjax.evaluation import metric as metric_lib

# Groups of every evaluation in the order of the table, and optional groups: files of this folder.
STANDARD = ('accuracy', 'novelty', 'copying', 'calibration', 'diversity', 'fidelity', 'cost')
OPTIONAL = (
  'corruptions', 'adversarial', 'recalibration', 'weight_robustness', 'barriers', 'finetuning',
  'ensembles',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Group:
  """Metrics that are selected by one name.

  Attributes:
    name: a file of this folder, or the path of a metric.
    metrics: in the order of the table.
    limit: most networks and most test items of each method; None for all.
    curve: sample -> data of a figure; None if the group has no figure.
  """

  name: str
  metrics: tuple[metric_lib.Metric, ...]
  limit: tuple[int, int] | None = None
  curve: Callable[[Any], Any] | None = None


def load(name: str) -> Group:
  """Finds metrics by name.

  Args:
    name: a file of this folder for all its metrics, or one metric of the user's own as
      'my_lab.metrics:churn' or 'path/to/file.py:churn'.

  Returns:
    The group; `LIMIT` and `curve` of a file are its limit and its figure, `METRICS` those metrics
    of a table that come after the others.

  Raises:
    ValueError: if there is no such file or no such metric.
  """
  if ':' in name:
    found = config_lib.find('evaluation.metrics', name, 'evaluate.metrics')
    if not isinstance(found, metric_lib.Metric):
      raise ValueError(f'evaluate.metrics: {name!r} is no metric, but a {type(found).__name__}.')
    return Group(name, (found,))
  if name not in (*STANDARD, *OPTIONAL):
    raise ValueError(
      f'Unknown group of metrics {name!r}; allowed: {", ".join(OPTIONAL)}, or a metric of your own '
      "as 'package.module:metric'."
    )
  module = importlib.import_module(f'{__name__}.{name}')
  declared = [
    value
    for value in vars(module).values()
    if isinstance(value, metric_lib.Metric) and value.compute.__module__ == module.__name__
  ]
  declared += getattr(module, 'METRICS', ())
  return Group(
    name, tuple(declared), getattr(module, 'LIMIT', None), getattr(module, 'curve', None)
  )


def load_all(names: Sequence[str]) -> list[Group]:
  """The standard groups, then those of `names`.

  Raises:
    ValueError: for a name that is unknown or given twice, or two metrics of one name.
  """
  if len(set(names)) != len(names) or set(names) & set(STANDARD):
    raise ValueError(
      f'Groups of metrics must differ from each other and from {STANDARD}; {names=}.'
    )
  groups = [load(name) for name in (*STANDARD, *names)]
  found = [metric.name for group in groups for metric in group.metrics]
  if twice := sorted({name for name in found if found.count(name) > 1}):
    raise ValueError(f'Two metrics have the name {twice[0]!r}.')
  return groups
