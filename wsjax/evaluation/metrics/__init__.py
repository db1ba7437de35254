"""Metrics: a file per group; each metric is one object that declares and computes itself."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from wsjax.evaluation import metric as metric_lib

# Groups of every evaluation, in the order of the table, and those to be asked for: files here.
STANDARD = ('accuracy', 'novelty', 'copying', 'calibration', 'diversity', 'fidelity', 'cost')
OPTIONAL = (
  'corruptions', 'adversarial', 'recalibration', 'weight_robustness', 'barriers', 'finetuning',
  'ensembles',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Group:
  """Metrics that are asked for by one name.

  Attributes:
    name: a file of this folder, or a dotted path.
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
    name: a file of this folder, a module 'my_lab.metrics' for all metrics that it declares, or
      'my_lab.metrics:churn' for one.

  Returns:
    The group. `LIMIT` and `curve` of the module are its limit and its figure.

  Raises:
    ValueError: if there is no such module or it has no such metric.
  """
  path, _, attribute = name.partition(':')
  if '.' not in path and not attribute:
    if path not in (*STANDARD, *OPTIONAL):
      raise ValueError(
        f'Unknown group of metrics {name!r}; allowed: {", ".join(OPTIONAL)}, or the dotted path of '
        'a metric of your own, package.module:metric.'
      )
    path = f'{__name__}.{path}'
  try:
    module = importlib.import_module(path)
  except ImportError as error:
    raise ValueError(f'Metrics {name!r} cannot be imported: {error}.') from error
  declared = [
    value
    for key, value in vars(module).items()
    if isinstance(value, metric_lib.Metric)
    and (key == attribute if attribute else value.compute.__module__ == module.__name__)
  ]
  if not declared:
    raise ValueError(f'{name!r} names no metric: {module.__name__} declares none by that name.')
  return Group(
    name,
    tuple(declared),
    getattr(module, 'LIMIT', None),
    None if attribute else getattr(module, 'curve', None),
  )


def load_all(names: Sequence[str]) -> list[Group]:
  """The standard groups, then those of `names`.

  Raises:
    ValueError: for a name that is not known or given twice, or two metrics of one name.
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
