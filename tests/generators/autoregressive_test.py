"""One token after the other: causal, the same at once, and it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax.generators import autoregressive

HEAD = {'name': 'mlp', 'width': 32, 'depth': 2}
SMALL = {'width': 16, 'state_size': 8, 'depth': 2}
KEY = jax.random.key(0)


def randomized(generator, shape):
  """Parameters that are nowhere zero."""
  params = jax.jit(generator.init)(KEY, np.zeros(shape, np.float32))
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(0)
  leaves = [leaf + 0.2 * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
  return jax.tree.unflatten(tree, leaves)


@pytest.mark.slow
def test_contexts_at_once_and_one_by_one_agree():
  given = np.ones((1, 3), np.float32)
  generator = autoregressive.Autoregressive(HEAD, **SMALL, condition_size=3)
  params = randomized(generator, (6, 4))
  tokens = np.random.default_rng(0).standard_normal((1, 6, 4))
  tokens = tokens.astype(np.float32)
  module = generator._contexts(6)

  def step(carry, inputs):
    states, before = carry
    index, token = inputs
    states, context = module.apply(
      {'params': params['contexts']}, states, before, index,
      given[0], method='step',
    )  # fmt: skip
    return (states, token), context

  @jax.jit
  def both(tokens):
    start = jnp.zeros((2, 8)), jnp.zeros(4)
    return (
      generator.contexts(params, tokens, given)[0],
      jax.lax.scan(step, start, (jnp.arange(6), tokens[0]))[1],
    )

  at_once, one_by_one = both(tokens)
  np.testing.assert_allclose(at_once, one_by_one, atol=1e-4)


def test_a_context_knows_all_tokens_before_its_own_and_no_other():
  generator = autoregressive.Autoregressive(HEAD, **SMALL)
  params = randomized(generator, (6, 4))
  tokens = np.random.default_rng(0).standard_normal((1, 6, 4))
  read = functools.partial(generator.contexts, params)
  jacobian = jax.jit(jax.jacobian(read))(tokens.astype(np.float32))
  reads = np.abs(np.asarray(jacobian)).max((0, 2, 3, 5))  # [context, token]
  before = np.tril_indices(6, -1)
  assert np.all(np.triu(reads) == 0) and np.all(reads[before] > 1e-6)


def test_a_sampled_token_does_not_depend_on_later_ones():
  generator = autoregressive.Autoregressive(HEAD, **SMALL, num_steps=2)
  params = randomized(generator, (4, 3))
  draw = functools.partial(generator.sample, key=KEY, num=2, shape=(4, 3))
  moved = jax.tree.map(np.array, params)
  moved['contexts']['places'][2, 0] += 3.0
  one, other = np.asarray(draw(params)), np.asarray(draw(moved))
  np.testing.assert_array_equal(one[:, :2], other[:, :2])
  assert np.all(np.abs(one[:, 2:] - other[:, 2:]).max(-1) > 1e-5)


def toy(num, seed=0):
  """[num, 3, 1]: a sign; a number; the product of both. All with noise."""
  rng = np.random.default_rng(seed)
  sign = rng.choice([-1.0, 1.0], num)
  number = rng.uniform(-1, 1, num)
  x = np.stack([sign, number, sign * number], 1)[..., None]
  return (x + 0.05 * rng.standard_normal(x.shape)).astype(np.float32)


@pytest.mark.slow
def test_it_learns_that_a_token_is_a_function_of_those_before():
  generator = autoregressive.Autoregressive(HEAD, width=32, state_size=32, depth=1)
  data = jnp.asarray(toy(2048))
  params = jax.jit(generator.init)(KEY, data[0])
  tx = optax.adam(optax.cosine_decay_schedule(3e-3, 700))

  def train_step(carry, key):
    params, opt_state = carry
    order_key, loss_key = jax.random.split(key)
    batch = data[jax.random.randint(order_key, (128,), 0, len(data))]
    grads, _ = jax.grad(generator.loss, has_aux=True)(params, batch, loss_key)
    updates, opt_state = tx.update(grads, opt_state)
    return (optax.apply_updates(params, updates), opt_state), None

  (params, _), _ = jax.jit(functools.partial(jax.lax.scan, train_step))(
    (params, tx.init(params)), jax.random.split(KEY, 700)
  )
  x = generator.sample(params, jax.random.key(2), 1000, shape=(3, 1))
  sign, number, product = np.asarray(x)[..., 0].T
  assert np.mean(np.abs(np.abs(sign) - 1) < 0.25) > 0.95
  assert 0.4 < np.mean(sign > 0) < 0.6
  assert 0.5 < number.std() < 0.65  # Uniform: 0.577.
  assert np.corrcoef(np.sign(sign) * number, product)[0, 1] > 0.95
  assert abs(np.corrcoef(number, product)[0, 1]) < 0.15


@pytest.mark.slow
def test_noise_on_contexts_is_for_training_only():
  small = {'width': 4, 'state_size': 4, 'depth': 1}
  quiet = autoregressive.Autoregressive(HEAD, **small)
  noisy = autoregressive.Autoregressive(HEAD, **small, context_noise=0.5)
  params, batch = randomized(quiet, (3, 1)), toy(8)
  for train in (True, False):
    losses = [
      float(jax.jit(functools.partial(generator.loss, train=train))(
        params, batch, KEY)[0])
      for generator in (quiet, noisy)
    ]  # fmt: skip
    assert (losses[0] == losses[1]) != train


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='depth'):
    autoregressive.Autoregressive(HEAD, depth=0)
  with pytest.raises(ValueError, match='solver'):
    autoregressive.Autoregressive(HEAD, solver='dpm')
