import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from wsjax.zoo import losses


@pytest.mark.parametrize('size', [1, 2, 3, 17, 64, 1257, 60_000])
def test_every_card_is_dealt_once(size):
  deal = jax.jit(losses.permutation, static_argnums=2)
  for seed in range(3):
    cards = deal(jax.random.key(seed), jnp.arange(size), size)
    np.testing.assert_array_equal(np.sort(cards), np.arange(size))


def test_places_can_be_read_one_by_one():
  key = jax.random.key(0)
  whole = losses.permutation(key, jnp.arange(50), 50)
  np.testing.assert_array_equal(
    losses.permutation(key, jnp.asarray([7, 31]), 50), whole[jnp.array([7, 31])]
  )


def test_cards_and_neighbours_are_uniform_over_keys():
  size, num_keys = 12, 20_000
  keys = jax.random.split(jax.random.key(1), num_keys)
  cards = np.asarray(jax.vmap(lambda key: losses.permutation(key, jnp.arange(size), size))(keys))
  for place in range(size):
    count = np.bincount(cards[:, place], minlength=size)
    assert scipy.stats.chisquare(count).pvalue > 1e-5
  step = (cards[:, 1:] - cards[:, :-1]) % size
  count = np.bincount(step.ravel(), minlength=size)
  assert count[0] == 0
  # Neighbouring cards of a uniform permutation differ by each nonzero amount equally often.
  assert scipy.stats.chisquare(count[1:]).pvalue > 1e-5


def test_batches_mix_the_whole_of_a_large_set():
  cards = np.asarray(losses.permutation(jax.random.key(3), jnp.arange(60_000), 60_000))
  means = cards[: 937 * 64].reshape(937, 64).mean(1)
  # Standard deviation of the mean of 64 draws without replacement.
  expected = 60_000 / np.sqrt(12 * 64)
  assert means.std() == pytest.approx(expected, rel=0.08)
  assert abs(np.corrcoef(cards[1:], cards[:-1])[0, 1]) < 0.02
