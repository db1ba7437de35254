import sys

import pytest

from wsjax.zoo.store import licence


@pytest.mark.parametrize(
  'expression', ['MIT', 'Apache-2.0 OR (MIT AND CC-BY-4.0)', 'LicenseRef-own']
)
def test_spdx_expressions_are_fine(expression):
  pytest.importorskip('license_expression')
  assert licence.problem(expression) is None


@pytest.mark.parametrize('expression', ['MIT AND', 'free for all', 'NoSuch-1.0'])
def test_anything_else_has_a_problem(expression):
  pytest.importorskip('license_expression')
  assert licence.problem(expression)


def test_without_the_extra_nothing_is_refused(monkeypatch):
  monkeypatch.setitem(sys.modules, 'license_expression', None)
  licence.problem.cache_clear()
  assert licence.problem('free for all') is None
  licence.problem.cache_clear()
