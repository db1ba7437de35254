"""Which kind of report: of generated networks, or of a property read."""

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from wsjax.evaluate import (
  comparison,
  property_comparison,
  property_report,
  report,
)


def of(result: Mapping[str, Any]) -> ModuleType:
  """The module that writes and prints this report."""
  return property_report if 'property' in result else report


def load(workdir: str | os.PathLike) -> dict[str, Any]:
  """Reads a report of either kind.

  Args:
    workdir: folder that `write` wrote to.

  Raises:
    ValueError: if there is none, it is truncated, or it is not a report.
  """
  result = report.read(workdir)
  if not (isinstance(result, dict) and 'property' in result):
    return report.load(workdir)
  property_report.check(result)
  return result


def comparison_of(
  reports: Mapping[str, Mapping[str, Any]],
) -> ModuleType:
  """The module that sets these reports side by side.

  Raises:
    ValueError: if they are not all of one kind.
  """
  kinds = {of(result) for result in reports.values()}
  if len(kinds) != 1:
    raise ValueError(
      'Runs that read a property and runs that generate networks have no '
      f'common table; got {sorted(reports)}.'
    )
  return property_comparison if property_report in kinds else comparison
