import itertools

import numpy as np
import pytest

from wsjax.symmetry.matching import weight_matching


def brute_force(table):
  n = len(table)
  return max(sum(table[i, p[i]] for i in range(n)) for p in itertools.permutations(range(n)))


@pytest.mark.parametrize('solve', [weight_matching.solve_on_host, weight_matching.solve_on_device])
def test_assignments_are_the_best_of_all(solve):
  tables = np.random.default_rng(0).normal(size=(20, 5, 5)).astype(np.float32)
  tables[0] = np.eye(5)[[4, 2, 0, 1, 3]]  # Solved by its largest entries.
  columns = np.asarray(solve(tables))
  for table, perm in zip(tables, columns, strict=True):
    assert sorted(perm) == list(range(5))
    assert table[np.arange(5), perm].sum() == pytest.approx(brute_force(table), abs=1e-5)


def test_solver_names():
  assert weight_matching.resolve('auto') == 'scipy'  # Tests run on CPU.
  assert weight_matching.resolve('optax') == 'optax'
  with pytest.raises(ValueError, match="'greedy'"):
    weight_matching.resolve('greedy')
