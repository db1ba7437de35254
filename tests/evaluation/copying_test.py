"""Ranks and rates of distances, against SciPy and against planted copies."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from wsjax.evaluation.metrics import copying


@hypothesis.given(
  st.lists(st.integers(0, 9), min_size=3, max_size=12),
  st.lists(st.integers(0, 9), min_size=3, max_size=12),
)
@hypothesis.settings(max_examples=20, deadline=None)
def test_z_and_p_are_those_of_scipy_with_ties(r, h):
  hypothesis.assume(len(set(r + h)) > 1)
  z, p = copying.copying_test(np.random.default_rng(0), np.array(r), np.array(h))
  slow = scipy.stats.mannwhitneyu(
    r, h, alternative='less', use_continuity=False, method='asymptotic'
  )
  assert scipy.stats.norm.cdf(z) == pytest.approx(slow.pvalue, abs=1e-6)
  above = np.mean([(a > b) + (a == b) / 2 for a in r for b in h])
  assert np.sign(z) == pytest.approx(np.sign(round(above - 0.5, 9)))
  exact = scipy.stats.mannwhitneyu(
    r, h, alternative='less', method=scipy.stats.PermutationMethod(2000, rng=0)
  )
  assert p == pytest.approx(exact.pvalue, abs=0.06)


def test_copies_are_below_zero_and_the_test_holds_its_size():
  p_values = []
  for seed in range(200):
    rng = np.random.default_rng(seed)
    r, h = rng.gamma(40.0, size=(2, 30))
    p_values.append(copying.copying_test(rng, r, h)[1])
  assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.046)
  z, p = copying.copying_test(rng, 0.8 * r, h)
  assert z < -3 and p < 0.01
  z, p = copying.copying_test(rng, 1.2 * r, h)
  assert z > 3 and p > 0.9
  assert copying.copying_test(rng, np.ones(4), np.ones(5))[0] == 0


def test_a_few_copies_show_in_the_rate_though_not_in_the_ranks():
  rng = np.random.default_rng(0)
  r, h = 1 + 0.03 * rng.standard_normal((2, 400))
  honest = copying.replicas(r, h)
  assert honest['value'] < 0.03 and 'note' not in honest
  r[:20] *= 0.5
  entry = copying.replicas(r, h)
  assert entry['value'] == pytest.approx(0.05, abs=0.02)
  assert entry['low'] > entry['heldout'] == pytest.approx(0.0124, abs=1e-4)
  assert copying.copying_test(rng, r, h)[1] > 0.01


def test_few_held_out_networks_are_said_to_be_few():
  rates = []
  for seed in range(400):
    r, h = np.random.default_rng(seed).standard_normal((2, 24))
    entry = copying.replicas(r, h)
    rates.append(entry['value'])
  assert '24 held-out' in entry['note'] and '4.9%' in entry['note']
  # What is said of honest generators is so: 400 of them, deviation 0.06.
  assert np.mean(rates) == pytest.approx(entry['heldout'], abs=0.012)


def test_authenticity_is_about_half_of_honest_samples():
  rng = np.random.default_rng(0)
  train, samples = rng.standard_normal((2, 300, 30))

  def nearest(points, zoo, same):
    table = np.linalg.norm(points[:, None] - zoo[None], axis=2)
    table[np.diag_indices(len(table))] += 1e9 * same
    return table.min(axis=1), table.argmin(axis=1)

  around = nearest(train, train, True)[0]
  honest = copying.authentic(*nearest(samples, train, False), around)
  assert 0.3 < np.mean(honest) < 0.7
  noisy = train + 0.5 * rng.standard_normal(train.shape)
  copies = copying.authentic(*nearest(noisy, train, False), around)
  assert not copies.any()


def test_overlap_is_compared_at_equal_accuracy():
  excess = copying.overlap_excess(
    np.array([0.9, 0.3, 0.5]),
    np.array([0.95, 0.8, 0.5]),
    np.array([0.4, 0.6, 0.2]),
    np.array([0.945, 0.955, 0.8]),
  )
  np.testing.assert_allclose(excess, [0.4, 0.1, np.nan], atol=1e-9)


def test_each_shared_network_stays_on_one_side():
  theirs = np.random.default_rng(0).standard_normal((6, 50))
  mine = np.concatenate([theirs[[4, 1, 5]] + 1e-6, -theirs[:2]])
  here, there = copying.disjoint(mine, theirs)
  # Shared are 1, 4 and 5 of theirs; of these the method keeps every other one.
  assert here.tolist() == [False, True, True, True, True]
  assert there.tolist() == [True, False, True, True, True, False]


def test_strangers_all_stay_and_equal_sets_are_halved():
  one, two = np.random.default_rng(1).standard_normal((2, 8, 50))
  here, there = copying.disjoint(one, two)
  assert here.all() and there.all()
  here, there = copying.disjoint(one, one)
  assert here.sum() == there.sum() == 4
  assert not (here & there).any()
