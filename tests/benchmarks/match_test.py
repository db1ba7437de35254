import argparse

import numpy as np
import pytest

from benchmarks import match


@pytest.mark.slow
def test_rows_compare_equal_work(monkeypatch):
  monkeypatch.setattr(match, 'ZOO_WIDTHS', (12, 6, 5, 3))
  monkeypatch.setattr(match, 'WIDE_WIDTHS', (12, 6, 5, 4, 3))
  monkeypatch.setattr(match, 'DEEP_WIDTHS', (4, 5, 5, 2))
  parser = argparse.ArgumentParser()
  match.add_arguments(parser)
  args = parser.parse_args(
    ['--nets=4', '--wide-nets=3', '--deep-nets=2', '--loop-pairs=3', '--repeats=1']
  )
  result = match.run(args)
  tasks = {row['task'] for row in result['rows']}
  assert len(tasks) == 5
  for task in tasks:
    rows = {r['method']: r for r in result['rows'] if r['task'] == task}
    assert set(rows) == {'batched', 'numpy loop', 'eager jax loop'}
    assert all(row['pairs/s'] > 0 for row in rows.values())
    assert rows['batched']['batched is faster by'] == 1
    if 'copies' in task:  # The batched side finds what was hidden.
      best = max(row['objective'] for row in rows.values())
      assert rows['batched']['objective'] == pytest.approx(best, rel=1e-5)
  assert any('quotient distance, 2 x 2' in note for note in result['notes'])


def test_classic_loops_agree_and_find_a_copy():
  spec = match.mlp_spec((30, 6, 5, 3))
  zoo = match.random_nets(spec, 2, 'copies', seed=0)
  a, b = ({path: value[i] for path, value in zoo.items()} for i in range(2))
  perms = match.classic(np, a, b, spec, seed=0)
  moved = b['layer0/kernel'][:, perms['hidden0']]
  np.testing.assert_allclose(moved, a['layer0/kernel'], atol=0.1)
  eager = match.classic(match.jnp, a, b, spec, seed=0)
  for id in perms:
    np.testing.assert_array_equal(perms[id], eager[id])


def test_unknown_kind_raises():
  with pytest.raises(ValueError, match="'clones'"):
    match.random_nets(match.mlp_spec((3, 2, 1)), 2, 'clones', seed=0)
