"""Nothing that is inferred about random functions changes them; planted faults are found.

`python -m tests.symmetry.fuzz 0 100000` checks as many functions as are wanted.
"""

import pytest

from tests.symmetry import fuzz
from wsjax.symmetry.inference import laws, rules, rules_linear


def _failures(seeds, variants=1):
  return [(s, v) for s in seeds for v, found, _ in fuzz.failures(s, variants) if found]


def test_inferred_elements_change_no_random_function():
  assert not _failures(range(60), variants=3)


@pytest.mark.slow
@pytest.mark.parametrize('piece', range(24))
def test_inferred_elements_change_none_of_many_random_functions(piece):
  assert not _failures(range(60 + 100 * piece, 160 + 100 * piece), fuzz.VARIANTS)


def test_random_functions_have_symmetries():
  tried = [fuzz.changes(seed)[1] for seed in range(40)]
  assert sum(n > 0 for n in tried) > 20 and sum(tried) > 40


def _forgets_broadcasts(monkeypatch):
  moved = laws.moved
  monkeypatch.setattr(
    laws, 'moved', lambda states, linked: moved(states, linked) if any(linked) else ['zero']
  )


def _passes_order(monkeypatch):
  def rule(axes, op):
    for axis in range(len(op.ins[0].shape)):
      axes.link(op, 0, axis, 0, axis)

  for name in ('cumsum', 'cummax', 'rev'):
    monkeypatch.setitem(rules.RULES, name, rule)


def _is_homogeneous(monkeypatch):
  monkeypatch.setattr(laws, 'EXTREMES', laws.EXTREMES | {'logistic', 'exp', 'floor', 'atan2'})


def _forgets_fills(monkeypatch):
  monkeypatch.setattr(laws, 'fills', lambda op: False)
  monkeypatch.setattr(rules_linear, 'SCATTERS', dict.fromkeys(rules_linear.SCATTERS, False))


def _has_no_inverse(monkeypatch):
  monkeypatch.setattr(laws.MatrixLaw, 'inverse', lambda self, atom, place: False)


@pytest.mark.parametrize(
  'plant',
  [
    _forgets_broadcasts,
    pytest.param(_passes_order, marks=pytest.mark.slow),
    _is_homogeneous,
    _has_no_inverse,
    pytest.param(_forgets_fills, marks=pytest.mark.slow),
  ],
)
def test_planted_faults_are_found(plant, monkeypatch):
  plant(monkeypatch)
  assert any(_failures([seed]) for seed in range(400))
