"""Every generator learns two modes, and samples them reproducibly.

Both protocols of `wsjax.generators.generator`: those that are trained in steps, and those that are
fitted at once.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax import config

BACKBONE = {'name': 'mlp', 'width': 64, 'depth': 2}
SMALL = {
  'flow_matching': {'backbone': BACKBONE, 'num_steps': 16},
  'diffusion': {'backbone': BACKBONE, 'sigma_max': 10.0, 'num_steps': 16},
  'flow': {'num_layers': 6, 'width': 32, 'depth': 2},
  'hypernetwork': {'width': 64, 'depth': 3, 'noise_size': 4, 'draws': 4},
  'autoregressive': {'head': BACKBONE, 'width': 32, 'state_size': 32, 'depth': 1},
  # Dimension by dimension there would be more modes than two, and the rule for one mode blurs two.
  'kde': {'per': 'joint', 'factor': 0.3},
  'gaussian_mixture': {'num_components': 2},
  'best_of_n': {'per': 'joint', 'factor': 0.3, 'candidates': 1024, 'keep': 1024},
  'graph_flow': {
    # Four weights, as many as the tokens have numbers.
    'architecture': {'name': 'mlp', 'widths': (1, 1, 1)},
    'num_layers': 6,
    'width': 32,
  },
}
NAMES = config.plugins('generators')
SHAPE = (2, 2)
CENTRE = np.asarray([[1.0, -1.0], [0.5, 1.5]], np.float32)
NUM_STEPS, BATCH = 1000, 128


def build(name, **keys):
  section = {'name': name, **SMALL.get(name, {}), **keys}
  return config.build('generators', section)


FITTED = [name for name in NAMES if hasattr(build(name), 'fit')]
TRAINED = [name for name in NAMES if name not in FITTED]


def shape_of(name):
  """(T, D) of the tokens that a generator is for."""
  return (1, 4) if 'architecture' in SMALL.get(name, {}) else SHAPE


def tokens_of(name, num, seed=0):
  """`two_modes`, in the tokens that a generator is for."""
  return two_modes(num, seed).reshape(num, *shape_of(name))


def two_modes(num, seed=0):
  """Tokens [num, 2, 2] near CENTRE or near -CENTRE."""
  rng = np.random.default_rng(seed)
  sign = rng.choice([-1, 1], (num, 1, 1))
  noise = 0.3 * rng.standard_normal((num, *SHAPE))
  return (sign * CENTRE[None] + noise).astype(np.float32)


def fit(generator, **options):
  """Parameters of a fitted generator; a score, if needed, of no preference."""
  if getattr(generator, 'NEEDS_SCORE', False):
    options['score'] = lambda latents: np.zeros(len(latents))
  return generator.fit(two_modes(1024), jax.random.key(0), **options)


@functools.cache
def trained(name):
  """Generator, its parameters and the loss at every step, if it has steps."""
  generator, data = build(name), jnp.asarray(tokens_of(name, 1024))
  if name in FITTED:
    return generator, fit(generator), None
  params = generator.init(jax.random.key(0), data[0])
  tx = optax.adam(optax.cosine_decay_schedule(3e-3, NUM_STEPS))

  def train_step(carry, key):
    params, opt_state = carry
    order_key, loss_key = jax.random.split(key)
    batch = data[jax.random.randint(order_key, (BATCH,), 0, len(data))]
    grad = jax.value_and_grad(generator.loss, has_aux=True)
    (loss, _), grads = grad(params, batch, loss_key)
    updates, opt_state = tx.update(grads, opt_state)
    return (optax.apply_updates(params, updates), opt_state), loss

  keys = jax.random.split(jax.random.key(1), NUM_STEPS)
  (params, _), losses = jax.jit(functools.partial(jax.lax.scan, train_step))(
    (params, tx.init(params)), keys
  )
  return generator, params, np.asarray(losses)


@pytest.mark.parametrize('name', NAMES)
def test_a_generator_follows_one_of_the_protocols(name):
  generator = build(name)
  steps = {'init', 'loss'} & set(dir(generator))
  assert steps == (set() if name in FITTED else {'init', 'loss'})
  assert getattr(generator, 'NEEDS_SCORE', False) == hasattr(generator, 'num_scored')


@pytest.mark.parametrize('name', FITTED)
def test_a_fit_depends_on_its_key_only_and_is_arrays(name):
  generator, params, _ = trained(name)
  again = fit(generator)
  for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
    assert isinstance(one, np.ndarray | jax.Array)
    np.testing.assert_array_equal(one, other)
    assert np.all(np.isfinite(one))


@pytest.mark.parametrize('name', FITTED)
def test_a_condition_that_it_cannot_use_is_refused(name):
  generator, _, _ = trained(name)
  with pytest.raises(ValueError, match='unconditional'):
    fit(generator, condition=np.ones((1024, 2), np.float32))


@pytest.mark.parametrize('name', TRAINED)
def test_the_loss_falls(name):
  _, _, losses = trained(name)
  assert np.all(np.isfinite(losses))
  assert losses[-50:].mean() < losses[:5].mean() - 0.1


@pytest.mark.parametrize('name', NAMES)
def test_samples_have_the_moments_and_modes_of_the_data(name):
  generator, params, _ = trained(name)
  shape = shape_of(name)
  samples = generator.sample(params, jax.random.key(2), 1000, shape=shape)
  assert samples.shape == (1000, *shape)
  samples = np.asarray(samples).reshape(1000, *SHAPE)
  assert np.all(np.isfinite(samples))
  data = two_modes(1000, seed=1)
  # A mean off by 0.25 is a mode drawn 8 % too often.
  np.testing.assert_allclose(samples.mean(0), data.mean(0), atol=0.25)
  np.testing.assert_allclose(samples.std(0), data.std(0), atol=0.2)
  # Along CENTRE, few samples lie between the modes.
  place = np.tensordot(samples, CENTRE, 2) / np.sum(CENTRE**2)
  assert np.mean(np.abs(place) < 0.4) < 0.15
  assert 0.35 < np.mean(place > 0) < 0.65


@pytest.mark.parametrize('name', NAMES)
def test_samples_depend_on_the_key_and_on_nothing_else(name):
  generator, params, _ = trained(name)
  draw = functools.partial(generator.sample, params, num=8, shape=shape_of(name))
  one, again = draw(jax.random.key(3)), draw(jax.random.key(3))
  np.testing.assert_array_equal(one, again)
  assert not np.array_equal(one, draw(jax.random.key(4)))


@pytest.mark.parametrize('name', TRAINED)
def test_the_loss_without_training_depends_on_its_key_only(name):
  generator, params, _ = trained(name)
  batch = tokens_of(name, 16)
  losses = [
    float(generator.loss(params, batch, jax.random.key(5), train=False)[0]) for _ in range(2)
  ]
  assert losses[0] == losses[1]


@pytest.mark.parametrize('name', NAMES)
def test_a_likelihood_prefers_data_to_noise(name):
  generator, params, _ = trained(name)
  if not hasattr(generator, 'log_prob'):
    pytest.skip(f'{name} has no density')
  data = tokens_of(name, 500, seed=2)
  noise = data.std(0)[None] * np.random.default_rng(0).standard_normal(data.shape).astype(
    np.float32
  )
  density = np.asarray(generator.log_prob(params, data))
  assert density.mean() > np.asarray(generator.log_prob(params, noise)).mean()
  # Entropy of the mixture: log 2 + 4 x that of a Gaussian of deviation 0.3.
  entropy = np.log(2) + 4 * (0.5 * np.log(2 * np.pi * np.e) + np.log(0.3))
  assert entropy - 0.1 < -density.mean() < entropy + 0.5


@pytest.mark.parametrize('name', TRAINED)
def test_conditions_reach_loss_samples_and_density(name):
  generator, batch = build(name, condition_size=2), tokens_of(name, 4)
  params = generator.init(jax.random.key(0), batch[0])
  rng = np.random.default_rng(0)  # A new model has the same output for all.
  params = jax.tree.map(
    lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape, np.float32), params
  )
  key = jax.random.key(1)

  def of(condition):
    given = np.tile(np.asarray(condition, np.float32), (4, 1))
    values = {
      'loss': generator.loss(params, batch, key, given, train=False)[0],
      'samples': generator.sample(params, key, 4, shape=shape_of(name), condition=given),
    }
    if hasattr(generator, 'log_prob'):
      values['density'] = generator.log_prob(params, batch, given)
    return values

  one, two = of([1.0, 0.0]), of([0.0, 2.0])
  for what in one:
    assert np.all(np.isfinite(one[what]))
    assert np.all(np.abs(one[what] - two[what]) > 1e-4), what
