"""The discrepancy is that of all pairs; the test is right and not blind."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.reference import evaluation as reference
from wsjax.evaluation import two_sample


@hypothesis.given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 99))
@hypothesis.settings(max_examples=20, deadline=None)
def test_discrepancy_is_that_of_all_pairs(n, m, seed):
  rng = np.random.default_rng(seed)
  a, b = rng.standard_normal((n, 3)), rng.standard_normal((m, 3)) + 0.5
  pooled = np.concatenate([a, b])
  products = two_sample.kernel(pooled, pooled, 1.3)
  first = (np.arange(n + m) < n)[None]
  for biased in (False, True):
    assert two_sample.mmd2(products, first, biased=biased)[0] == pytest.approx(
      reference.mmd2(a, b, 1.3, biased)
    )
  value, _ = two_sample.test(rng, a, b, 1.3, num_permutations=5)
  assert value == pytest.approx(reference.mmd2(a, b, 1.3))


def _p_values(shift, repeats=200, n=16):
  values = []
  for seed in range(repeats):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, 4))
    p = two_sample.test(rng, a + shift, b, 2.0, num_permutations=99)[1]
    values.append(p)
  return np.array(values)


def test_size_is_nominal_and_a_shift_is_seen():
  null = _p_values(0.0)
  # 200 draws of a rate of 5 % (20 %): within three standard errors.
  assert np.mean(null <= 0.05) == pytest.approx(0.05, abs=0.046)
  assert np.mean(null <= 0.2) == pytest.approx(0.2, abs=0.085)
  assert np.mean(_p_values(1.0, repeats=50) <= 0.05) > 0.9


def test_two_halves_of_nothing_but_copies_do_not_differ():
  same = np.ones((8, 2))
  rng = np.random.default_rng(0)
  assert two_sample.bandwidth(same) == 1
  value, p = two_sample.test(rng, same, same, 1.0, num_permutations=50)
  assert value == pytest.approx(0) and p == 1


def test_ratio_is_one_for_another_sample_of_the_same_kind():
  rng = np.random.default_rng(0)
  samples, heldout = rng.standard_normal((2, 60, 3))
  train = rng.standard_normal((300, 3))
  width = two_sample.bandwidth(train)
  value = two_sample.ratio(rng, samples, train, heldout, width)
  assert value == pytest.approx(1, abs=0.3)
  far = two_sample.ratio(rng, samples + 1, train, heldout, width)
  assert far > 2


@hypothesis.given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 99))
@hypothesis.settings(max_examples=20, deadline=None)
def test_energy_is_that_of_all_pairs(n, m, seed):
  rng = np.random.default_rng(seed)
  a, b = rng.standard_normal((n, 3)), rng.standard_normal((m, 3)) + 0.5
  assert two_sample.energy(a, b) == pytest.approx(reference.energy(a, b))


def test_energy_is_unbiased_and_sees_what_a_mean_does_not():
  rng = np.random.default_rng(0)
  draws = rng.standard_normal((200, 2, 12, 3))
  values = [two_sample.energy(a, b) for a, b in draws]
  assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / 200**0.5)
  a, b = rng.standard_normal((2, 200, 3))
  assert two_sample.energy(2 * a, b) > 0.1


def test_sliced_distance_is_the_sorted_one_and_that_of_a_shift():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 40, 1))
  line = np.sqrt(np.mean((np.sort(a[:, 0]) - np.sort(b[:, 0])) ** 2))
  # In one dimension every line is the same one.
  assert two_sample.sliced_wasserstein(rng, a, b) == pytest.approx(line)
  c, shift = rng.standard_normal((40, 4)), np.array([3.0, 0, 4, 0])
  order = rng.permutation(40)
  assert two_sample.sliced_wasserstein(rng, c, c[order]) == pytest.approx(0)
  # Mean over directions of the squared part of the shift along them.
  moved = two_sample.sliced_wasserstein(rng, c, c[order] + shift, num_projections=20_000)
  assert moved == pytest.approx(5 / np.sqrt(4), rel=0.02)
  with pytest.raises(ValueError, match='40 and 39'):
    two_sample.sliced_wasserstein(rng, c, c[1:])


@hypothesis.given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
@hypothesis.settings(max_examples=30, deadline=None)
def test_nearest_others_are_those_of_all_pairs(n, m, seed):
  rng = np.random.default_rng(seed)
  # Few places, so that several are as near.
  a, b = rng.integers(3, size=(n, 2)), rng.integers(3, size=(m, 2))
  np.testing.assert_allclose(two_sample.one_nearest(a, b), reference.one_nearest(a, b))


def test_nearest_others_tell_sets_apart_and_find_copies():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 300, 8))
  # Twice the standard error, had all been independent, and half of it again.
  assert two_sample.one_nearest(a, b).mean() == pytest.approx(0.5, abs=0.06)
  assert two_sample.one_nearest(a + 9, b).mean() == 1
  assert two_sample.one_nearest(b + 1e-3, b).mean() == 0
  # Samples that are all alike find each other.
  collapsed = np.repeat(a[:1], 300, axis=0)
  assert two_sample.one_nearest(collapsed, b)[:300].mean() == 1
  with pytest.raises(ValueError, match='two networks'):
    two_sample.one_nearest(a[:1], b[:0])


@hypothesis.given(st.integers(4, 9), st.floats(0, 2), st.integers(0, 99))
@hypothesis.settings(max_examples=20, deadline=None)
def test_every_share_is_that_of_balls_one_by_one(n, shift, seed):
  rng = np.random.default_rng(seed)
  real, samples = rng.standard_normal((2, n, 3))
  found = two_sample.compare(real, samples + shift, k=3)
  slow = reference.coverage(real, samples + shift, 3)
  assert {key: np.mean(value) for key, value in found.items()} == (pytest.approx(slow))


def _shares(real, samples):
  found = two_sample.compare(real, samples)
  return {key: float(np.mean(value)) for key, value in found.items()}


def test_more_of_the_same_covers():
  real, samples = np.random.default_rng(0).standard_normal((2, 200, 4))
  shares = _shares(real, samples)
  assert shares['density'] == pytest.approx(1, abs=0.15)
  # Of two equal distributions 1 - 2^-5: Naeem et al. 2020, lemma 2.
  assert shares['coverage'] == pytest.approx(1 - 2**-5, abs=0.03)


def test_one_mode_of_two_is_half_covered():
  rng = np.random.default_rng(0)
  real, samples = rng.standard_normal((2, 100, 4))
  real[:50] += 50
  shares = _shares(real, samples)
  assert shares['precision'] > 0.8 and shares['density'] > 0.7
  assert shares['coverage'] == pytest.approx(0.5, abs=0.05)
  assert shares['recall'] <= 0.5


def test_noise_covers_nothing_though_its_balls_reach_far():
  rng = np.random.default_rng(0)
  real = rng.standard_normal((100, 4))
  shares = _shares(real, 20 * rng.standard_normal((100, 4)))
  assert shares['density'] < 0.1 and shares['coverage'] < 0.2
  assert shares['recall'] > 0.5  # Why recall stands beside coverage.


def test_unequal_sizes_and_too_few_are_refused():
  with pytest.raises(ValueError, match='equally many'):
    two_sample.compare(np.zeros((9, 2)), np.zeros((8, 2)))
  with pytest.raises(ValueError, match='more than 5'):
    two_sample.compare(np.zeros((5, 2)), np.zeros((5, 2)))


def test_a_vendi_score_is_the_number_of_groups_of_equal_size():
  for groups in (1, 2, 5):
    labels = np.repeat(np.arange(groups), 4)
    products = (labels[:, None] == labels[None]).astype(float)
    assert two_sample.vendi_score(products) == pytest.approx(groups)


def test_a_vendi_ratio_is_one_for_more_of_the_same_and_falls_with_collapse():
  found = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    samples, heldout = rng.standard_normal((2, 100, 8))
    value, count = two_sample.vendi_ratio(rng, samples, heldout, 3.0)
    found.append(value)
    assert count == 64
  assert np.mean(found) == pytest.approx(1, abs=0.05)
  value, count = two_sample.vendi_ratio(rng, 0.01 * samples[:20], heldout, 3.0)
  assert value < 0.3 and count == 20
