"""Selection keeps the best, and says among how many."""

import jax
import numpy as np
import pytest

from wsjax.generators import best_of_n, kde

KEY = jax.random.key(0)
X = np.random.default_rng(0).standard_normal((100, 2, 3)).astype(np.float32)


def norm(latents):
  """[n] a score that is known."""
  return -np.linalg.norm(latents.reshape(len(latents), -1), axis=1)


def test_one_round_keeps_the_best_candidates():
  seen = []

  def score(latents):
    seen.append(latents)
    return norm(latents)

  model = best_of_n.BestOfN(candidates=64, keep=8)
  fitted = model.fit(X, KEY, score=score)
  (drawn,) = seen
  want = np.sort(norm(drawn))[::-1][:8]
  np.testing.assert_array_equal(fitted.scores, want)
  np.testing.assert_array_equal(norm(fitted.pool), want)
  assert model.num_scored == len(drawn) == 64


def test_rounds_draw_from_what_was_kept():
  seen = []

  def score(latents):
    seen.append(latents)
    return norm(latents)

  model = best_of_n.BestOfN(candidates=400, keep=40, rounds=4)
  fitted = model.fit(X, KEY, score=score)
  assert model.num_scored == sum(len(drawn) for drawn in seen) == 1600
  means = [norm(drawn).mean() for drawn in seen]
  assert means == sorted(means)
  # A tenth of the way: candidates of a round are around the kept of the last.
  best = seen[0][np.argsort(-norm(seen[0]), kind='stable')[:40]]
  assert abs(seen[1].std() / best.std() - 1) < 0.2
  assert norm(fitted.pool).mean() > norm(X).max() - 0.5


def test_a_score_that_says_nothing_leaves_the_density_alone():
  model = best_of_n.BestOfN(candidates=64, keep=64)
  fitted = model.fit(X, KEY, score=lambda latents: np.zeros(len(latents)))
  density = kde.KDE()
  want = density.sample(density.fit(X, KEY), jax.random.fold_in(KEY, 0), 64, shape=(2, 3))
  np.testing.assert_array_equal(fitted.pool, want)


def test_samples_are_different_members_of_the_pool():
  model = best_of_n.BestOfN(candidates=64, keep=20)
  fitted = model.fit(X, KEY, score=norm)
  drawn = np.asarray(model.sample(fitted, KEY, 20, shape=(2, 3)))
  np.testing.assert_allclose(np.sort(norm(drawn))[::-1], norm(fitted.pool))
  with pytest.raises(ValueError, match='keeps 20 networks; 21'):
    model.sample(fitted, KEY, 21, shape=(2, 3))


def test_scores_that_are_no_scores_are_refused():
  model = best_of_n.BestOfN(candidates=8, keep=2)
  with pytest.raises(ValueError, match='2 of them NaN'):
    model.fit(X, KEY, score=lambda x: np.r_[np.ones(6), np.nan, np.nan])
  with pytest.raises(ValueError, match='each of 8 candidates'):
    model.fit(X, KEY, score=lambda x: np.ones(3))
  with pytest.raises(ValueError, match='keep is 9'):
    best_of_n.BestOfN(candidates=8, keep=9)
