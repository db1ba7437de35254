"""Cells of the small reports: a value, its interval, and what seeds gave."""

from collections.abc import Mapping
from typing import Any


def cell(stat: Mapping[str, Any], form: str, factor: float = 1) -> dict[str, str]:
  """Texts 'value', 'interval' and 'per_seed' of an entry, '' for none.

  Args:
    stat: entry with value, low, high and per_seed.
    form: of the numbers.
    factor: multiplies them, 100 for percent.
  """
  seeds = ['-' if value is None else format(factor * value, form) for value in stat['per_seed']]
  return {
    'value': format(factor * stat['value'], form),
    'interval': sides(stat, form, factor).strip(),
    'per_seed': ', '.join(seeds) if len(seeds) > 1 else '',
  }


def sides(stat: Mapping[str, Any], form: str, factor: float = 1) -> str:
  """' [low, high]', or nothing where there is no interval."""
  if stat.get('low') is None:
    return ''
  return f' [{factor * stat["low"]:{form}}, {factor * stat["high"]:{form}}]'
