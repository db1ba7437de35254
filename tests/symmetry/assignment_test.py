import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import optimize

from wsjax.symmetry.matching import host, weight_matching


def brute_force(table):
  n = len(table)
  return max(sum(table[i, p[i]] for i in range(n)) for p in itertools.permutations(range(n)))


@pytest.mark.parametrize('solve', [host.solve, weight_matching.solve_on_device])
def test_assignments_are_the_best_of_all(solve):
  tables = np.random.default_rng(0).normal(size=(20, 5, 5)).astype(np.float32)
  tables[0] = np.eye(5)[[4, 2, 0, 1, 3]]  # Solved by its largest entries.
  columns = np.asarray(solve(tables))
  for table, perm in zip(tables, columns, strict=True):
    assert sorted(perm) == list(range(5))
    assert table[np.arange(5), perm].sum() == pytest.approx(brute_force(table), abs=1e-5)


@hypothesis.given(
  n=st.integers(1, 40),
  seed=st.integers(0, 2**32 - 1),
  kind=st.sampled_from(('random', 'ties', 'constant', 'low rank', 'large offset')),
  exponent=st.integers(-12, 12),
)
def test_the_host_finds_what_scipy_finds(n, seed, kind, exponent):
  rng = np.random.default_rng(seed)
  tables = {
    'random': lambda: rng.normal(size=(4, n, n)),
    'ties': lambda: rng.integers(0, 3, (4, n, n)),
    'constant': lambda: np.zeros((4, n, n)),
    'low rank': lambda: rng.normal(size=(4, n, 1)) * rng.normal(size=(4, 1, n)),
    'large offset': lambda: rng.normal(size=(4, n, n)) + 1e4 * rng.normal(size=(4, 1, n)),
  }[kind]()
  tables = (tables * 10.0**exponent).astype(np.float32)
  # Any prices are a start, also those of another table.
  prices = 10.0**exponent * rng.normal(size=(4, n)) * rng.choice([0.0, 1.0, 1e3])
  columns = host.solve(tables, prices)
  for table, perm in zip(tables.astype(np.float64), columns, strict=True):
    np.testing.assert_array_equal(np.sort(perm), np.arange(n))
    best = table[optimize.linear_sum_assignment(table, maximize=True)].sum()
    size = np.abs(table).max(initial=0) + 1e3 * 10.0**exponent
    assert table[np.arange(n), perm].sum() >= best - 1e-12 * n * size


def test_solver_names():
  assert weight_matching.resolve('auto') == 'host'  # Tests run on CPU.
  assert weight_matching.resolve('device') == 'device'
  with pytest.raises(ValueError, match="'greedy'"):
    weight_matching.resolve('greedy')
