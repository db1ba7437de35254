"""Differences of methods: pairing pays, and intervals cover."""

import numpy as np
import pytest
import scipy.stats

from wsjax.evaluation import evaluator, statistics
from wsjax.evaluation.report import model

ONE = np.zeros


def _table(rng, item, seeds=(0.0,), nets=8, shift=0.0):
  """Networks x items: common difficulty of items, an effect of each seed."""
  noise = 0.2 * rng.standard_normal((len(seeds) * nets, len(item)))
  return item[None] + np.repeat(seeds, nets)[:, None] + shift + noise


def _paired(a, b, groups_a, groups_b, resampler):
  means = (evaluator.mean(a, groups_a, resampler), evaluator.mean(b, groups_b, resampler))
  return evaluator.paired(*means)


def test_common_items_cancel():
  rng = np.random.default_rng(0)
  item = rng.standard_normal(60)
  resampler = statistics.Resampler(60, 1000)
  a, b = _table(rng, item, shift=0.1), _table(rng, item)
  paired = _paired(a, b, ONE(8), ONE(8), resampler)
  alone = [statistics.two_way(table, ONE(8), resampler) for table in (a, b)]
  assert paired['value'] == pytest.approx(a.mean() - b.mean(), abs=1e-6)
  assert paired['low'] > 0 and paired['p'] < 0.05
  assert alone[0]['low'] < alone[1]['high'], 'side by side they overlap'
  swapped = _paired(b, a, ONE(8), ONE(8), resampler)
  assert swapped['value'] == pytest.approx(-paired['value'])
  assert swapped['p'] == paired['p']


def test_common_seeds_cancel():
  rng = np.random.default_rng(1)
  item, seeds = np.zeros(40), np.array([-1.0, 0.0, 1.0, 2.0])
  groups = np.repeat(np.arange(4), 8)
  resampler = statistics.Resampler(40, 1000)
  a, b = _table(rng, item, seeds, shift=0.2), _table(rng, item, seeds)
  paired = _paired(a, b, groups, groups, resampler)
  assert paired['low'] > 0 and paired['method'] == 'two-way-seeds'
  # Of seeds that are not the same, nothing cancels.
  other = _paired(a, b[::-1], groups, groups, resampler)
  assert other['low'] < 0 < other['high']


def test_equal_arms_differ_rarely():
  found = []
  for trial in range(60):
    rng = np.random.default_rng(trial)
    item = rng.standard_normal(30)
    entry = _paired(
      _table(rng, item),
      _table(rng, item, nets=12),
      ONE(8),
      ONE(12),
      statistics.Resampler(30, 200, seed=trial),
    )
    assert entry['n'] == 8
    found.append(entry['p'] <= 0.05)
  assert np.mean(found) <= 0.1  # The two-way interval is conservative.


def test_what_is_not_common_is_refused():
  with pytest.raises(ValueError):
    _paired(ONE((2, 5)), ONE((2, 4)), ONE(2), ONE(2), statistics.Resampler(5, 10))


def _row(kind, passed, n):
  return model.Row(n, dict.fromkeys(evaluator.GATES, {'value': passed / n}), kind)


def test_a_generator_is_compared_with_every_baseline():
  rng = np.random.default_rng(0)
  rows = {
    'zoo': _row('reference', 20, 40),
    'ours': _row('model', 24, 60),
    'noise': _row('baseline', 0, 40),
    'soup': _row('baseline', 14, 40),
  }
  right = {'ours': 0.9, 'noise': 0.6, 'soup': 0.9}
  tables = {
    name: (
      rng.random((rows[name].n, 200)) < share,
      np.arange(rows[name].n) % (3 if name == 'ours' else 1),
    )
    for name, share in right.items()
  }
  resampler = statistics.Resampler(200, 500)
  found = evaluator.against_baselines(rows, tables, resampler)
  assert list(found) == ['ours − noise', 'ours − soup']
  noise, soup = (row.stats for row in found.values())
  assert noise['accuracy']['value'] == pytest.approx(0.3, abs=0.02)
  assert noise['accuracy']['p'] < 0.05 < soup['accuracy']['p']
  assert noise['gate_half']['value'] == pytest.approx(0.4)
  fisher = scipy.stats.fisher_exact([[24, 36], [0, 40]]).pvalue
  assert noise['gate_half']['p'] == pytest.approx(2 * fisher)  # Of two baselines (Holm).
  assert soup['gate_half']['p'] > 0.05


def test_without_a_baseline_there_is_no_difference():
  rows = {'ours': _row('model', 1, 2)}
  assert evaluator.against_baselines(rows, {}, statistics.Resampler(2)) == {}
