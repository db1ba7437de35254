"""Licence expressions, read the way SPDX writes them."""

import functools
import types


@functools.lru_cache(maxsize=256)
def problem(expression: str) -> str | None:
  """What is wrong with an SPDX licence expression.

  Args:
    expression: such as 'MIT AND CC-BY-4.0'. 'LicenseRef-...' may stand for a licence that SPDX does
      not list.

  Returns:
    A few words, or None if nothing is wrong or the `zoo` extra, which can tell, is not installed.
  """
  try:
    import license_expression  # Slow, and not everyone has it.
  except ImportError:
    return None
  licensing = _spdx(license_expression)
  try:
    parsed = licensing.parse(expression, strict=True)
  except license_expression.ExpressionError as error:
    return ' '.join(str(error).split())
  unknown = [
    key for key in licensing.unknown_license_keys(parsed) if not key.startswith('LicenseRef-')
  ]
  return f'unknown licence {", ".join(unknown)}' if unknown else None


@functools.cache
def _spdx(license_expression: types.ModuleType) -> object:
  return license_expression.get_spdx_licensing()
