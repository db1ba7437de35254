"""The area under the curve, against scikit-learn and against chance."""

import numpy as np
import pytest
import sklearn.metrics

from wsjax.evaluation.metrics import membership

RNG = np.random.default_rng(0)


def test_the_area_is_that_of_scikit_learn_ties_included():
  members = RNG.integers(0, 6, 40).astype(float)
  others = RNG.integers(0, 5, 30).astype(float)
  found = membership.auc(members, others, num_bootstrap=50, seed=0)
  labels = np.repeat([1, 0], [40, 30])
  want = sklearn.metrics.roc_auc_score(labels, np.concatenate([members, others]))
  assert found['value'] == pytest.approx(want)
  assert found['low'] < want < found['high'] and found['n'] == 70


def test_a_memorizing_density_is_told_from_an_honest_one():
  honest = membership.auc(
    RNG.standard_normal(200), RNG.standard_normal(200), num_bootstrap=200,
    seed=0,
  )  # fmt: skip
  assert honest['low'] < 0.5 < honest['high']
  memorizing = membership.auc(
    RNG.standard_normal(200) + 3, RNG.standard_normal(200), num_bootstrap=200,
    seed=0,
  )  # fmt: skip
  assert memorizing['low'] > 0.9


def test_what_has_no_answer_is_refused():
  with pytest.raises(ValueError, match='both kinds; got 0 and 3'):
    membership.auc(np.zeros(0), np.zeros(3), num_bootstrap=5, seed=0)
  with pytest.raises(ValueError, match='not a number'):
    membership.auc(np.array([np.nan]), np.zeros(3), num_bootstrap=5, seed=0)


def test_a_density_of_0_ranks_lowest():
  members, others = np.array([0.0, 1.0]), np.array([-np.inf, -np.inf, 2.0])
  found = membership.auc(members, others, num_bootstrap=20, seed=0)
  assert found['value'] == pytest.approx(4 / 6)


def test_the_width_of_the_interval_is_that_of_the_jackknife():
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 9, 30), rng.integers(2, 11, 20)
  found = membership.auc(a, b, num_bootstrap=2000, seed=0)
  wins = np.sign(a[:, None] - b[None]) / 2 + 0.5
  error = np.sqrt(wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 20)
  assert found['high'] - found['low'] == pytest.approx(2 * 1.96 * error, rel=0.15)
  assert membership.auc(a, a, num_bootstrap=50, seed=0)['value'] == 0.5
