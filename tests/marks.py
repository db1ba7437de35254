"""Which cases of a test are for `make test-slow`."""

from collections.abc import Iterable

import pytest


def slow(names: Iterable[object], *marked: object) -> list:
  """Parameters: all names, of which the marked ones are slow.

  New cases are run by default, for a list here need not name them.

  Raises:
    ValueError: if a marked name is none of the names.
  """
  names = list(names)
  if unknown := set(marked) - set(names):
    raise ValueError(f'{sorted(unknown)} are not among {names}.')
  return [pytest.param(name, marks=[pytest.mark.slow] if name in marked else []) for name in names]
