"""Which kind: networks, pictures, tasks, properties, edits or prompts."""

import os
import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from wsjax.evaluation.report import comparison, html, model, report
from wsjax.experiments import inr_comparison, inr_report

# Kinds of their own -> their table of runs side by side.
_COMPARED = {inr_report: inr_comparison}


def of(result: Mapping[str, Any]) -> ModuleType:
  """The module that checks, draws and prints this kind of report."""
  if 'drawing' in result:
    return inr_report
  return report


def write(result: Mapping[str, Any], workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.json and report.html, each in one step.

  Args:
    result: a report of any kind; NumPy numbers and arrays are taken too.
    workdir: folder, made if it is not there.

  Returns:
    Path of report.html.

  Raises:
    ValueError: if a number is not finite or a field is missing or malformed.
  """
  if isinstance(result, model.Report):
    return result.write(workdir, html.page)
  kind = of(result)
  made = report.plain(result, 'report')
  kind.check(made)
  return report.publish(workdir, 'report', made, kind.page)


def load(workdir: str | os.PathLike) -> dict[str, Any]:
  """Reads a report of any kind.

  Args:
    workdir: folder that `write` wrote to.

  Raises:
    ValueError: if there is none, it is truncated, or it is not a report.
  """
  result = report.read(workdir)
  if isinstance(result, dict) and 'tables' in result:
    return model.load(workdir)
  if not isinstance(result, dict) or of(result) is report:
    return report.load(workdir)
  of(result).check(result)
  return result


def comparison_of(reports: Mapping[str, Mapping[str, Any]]) -> ModuleType:
  """The module that sets these reports side by side.

  Raises:
    ValueError: if they are not all of one kind, or of one that has no table of several runs.
  """
  kinds = {of(result) for result in reports.values()}
  if len(kinds) != 1:
    raise ValueError(
      'Runs that read a property, that generate classifiers and that generate '
      f'networks that draw have no common table; got {sorted(reports)}.'
    )
  (kind,) = kinds
  return _COMPARED.get(kind, comparison)
