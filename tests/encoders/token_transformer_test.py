"""Tokens, and the objectives that need no labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import strategies
from wsjax.encoders import self_supervised, token_transformer
from wsjax.models import mlp
from wsjax.tokens import chunks, neurons

CASE = strategies.make_mlp((5, 4, 3, 2))
ARCHITECTURE = mlp.MLP((5, 4, 3, 2))


def make(**options):
  sizes = {'width': 12, 'depth': 1, 'num_heads': 2, 'embedding': 6, **options}
  return token_transformer.TokenTransformer(ARCHITECTURE, **sizes)


@pytest.mark.parametrize(
  'tokens', [neurons.Neurons(), pytest.param(chunks.Chunks(4), marks=pytest.mark.slow)]
)
def test_every_token_is_read_and_has_a_position(tokens):
  stack = make(tokens=tokens).stack()
  params = CASE.params(0)
  variables = jax.jit(stack.init)(jax.random.key(0), params)
  run = jax.jit(stack.apply)
  h = run(variables, jax.tree.map(np.zeros_like, params))
  assert h.shape == (stack.tokenizer.shape(CASE.spec)[0], 12)
  distances = np.abs(h[:, None] - h[None]).max(-1) + np.eye(len(h))
  assert distances.min() > 1e-4  # Empty tokens differ by position alone.
  assert not np.allclose(run(variables, params), h)


def test_hidden_tokens_are_not_seen():
  model = token_transformer.TokenReconstructor(make().stack())
  params = CASE.params(0)
  hidden = jnp.arange(9) < 4  # The units of the first layer.
  variables = jax.jit(model.init)(jax.random.key(0), params, hidden)
  run = jax.jit(model.apply)
  other = {**params, 'layer0/kernel': params['layer0/kernel'] + 1}
  one, two = (run(variables, p, hidden) for p in (params, other))
  np.testing.assert_array_equal(one, two)
  assert not np.allclose(one, run(variables, other, hidden & False))


def test_nt_xent_is_what_the_definition_says():
  rng = np.random.default_rng(0)
  one, two = rng.standard_normal((2, 4, 3))
  views = np.concatenate([one, two])
  views /= np.linalg.norm(views, axis=1, keepdims=True)
  total = 0.0
  for i in range(8):
    scores = np.exp(views[i] @ views.T / 0.5)
    total -= np.log(scores[(i + 4) % 8] / (scores.sum() - scores[i]))
  loss, _ = self_supervised.nt_xent(jnp.asarray(one), jnp.asarray(two), temperature=0.5)
  np.testing.assert_allclose(loss, total / 8, rtol=1e-5)
  same = jnp.asarray(one)
  assert self_supervised.nt_xent(same, same)[1] == 1
  with pytest.raises(ValueError, match='>= 2 networks'):
    self_supervised.nt_xent(same[:1], same[:1])


@pytest.mark.slow
def test_a_view_without_noise_is_the_same_function():
  params = CASE.params(0)
  moved = self_supervised.view(jax.random.key(0), params, CASE.spec, noise=0.0)
  x = CASE.inputs(0)
  np.testing.assert_allclose(CASE.forward(moved, x), CASE.forward(params, x), rtol=1e-4, atol=1e-4)
  assert not np.allclose(moved['layer0/kernel'], params['layer0/kernel'])


def fit(loss, variables, batch, steps=60):
  tx = optax.adam(1e-2)

  @jax.jit
  def step(carry, number):
    variables, state = carry
    key = jax.random.fold_in(jax.random.key(0), number)
    (value, _), gradients = jax.value_and_grad(loss, has_aux=True)(variables, batch, key)
    updates, state = tx.update(gradients, state)
    return (optax.apply_updates(variables, updates), state), value

  carry = (variables, tx.init(variables))
  return jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(carry)


@pytest.mark.slow
def test_contrast_teaches_to_ignore_the_order():
  spec = CASE.spec.permutations_only()
  encoder = make(dropout=0.1)
  projector = self_supervised.Projector(encoder, 8)
  batch = CASE.params(0, 8)
  one = {path: value[0] for path, value in batch.items()}
  variables = jax.jit(projector.init)(jax.random.key(0), one)
  loss = self_supervised.contrastive(projector, spec, noise=0.01)
  (trained, _), losses = fit(loss, variables, batch)
  assert losses[-5:].mean() < 0.7 * losses[:5].mean()
  g = spec.random(jax.random.key(7))
  moved = jax.vmap(lambda p: spec.act(g, p))(batch)

  def similarity(variables):
    embed = jax.jit(jax.vmap(lambda p: projector.apply(variables, p)))
    return self_supervised.nt_xent(embed(batch), embed(moved))[0]

  assert similarity(trained) < similarity(variables)


@pytest.mark.slow
def test_masked_training_fills_in_what_networks_share():
  model = token_transformer.TokenReconstructor(make().stack())
  shared = CASE.params(0)
  batch = {path: np.stack([value] * 4) for path, value in shared.items()}
  hidden = jnp.zeros(9, bool)
  variables = jax.jit(model.init)(jax.random.key(0), shared, hidden)
  loss = self_supervised.masked(model)
  _, losses = fit(loss, variables, batch)
  assert losses[-5:].mean() < 0.3 * losses[:5].mean()
  with pytest.raises(ValueError, match=r'in \(0, 1\)'):
    self_supervised.masked(model, ratio=1.0)


def test_options_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match='heads'):
    make(num_heads=5)
  with pytest.raises(ValueError, match='tokens'):
    make(tokens={'name': 'graph'})
