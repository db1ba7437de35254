"""Guidance weighs conditional against unconditional, and task losses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import fields
from wsjax.generators import diffusion, flow_matching
from wsjax.generators.parts import guidance

BACKBONE = {'name': 'mlp', 'width': 16, 'depth': 1}
PARAMS = {'a': 0.5, 'b': 0.25, 'c': 2.0}
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
CONDITION = np.asarray([1.0, 0.5], np.float32)
# Solvers that are quick to compile.
FAMILIES = {
  'flow_matching': functools.partial(
    flow_matching.FlowMatching, BACKBONE, num_steps=8, solver='euler'
  ),
  'diffusion': functools.partial(
    diffusion.Diffusion, BACKBONE, num_steps=8, sigma_max=10.0, solver='ancestral'
  ),
}
EVERY = pytest.mark.parametrize('family', FAMILIES)


def linear(drop_condition=0.5, scale=1.0):
  return guidance.ConditionalField(fields.Linear(), 2, drop_condition, scale)


def toy(family, backbone=None, **keys):
  """A generator whose backbone is known by heart."""
  return dataclasses.replace(FAMILIES[family](**keys), backbone=backbone or fields.Linear())


@pytest.mark.parametrize('scale', [0.0, 0.5, 1.0, 3.0])
def test_the_part_of_the_condition_is_scaled(scale):
  # Its features add up to 1 + 0.5, and the flag adds 1.
  got = linear(scale=scale).sample_field(PARAMS, X, 0.3, CONDITION)
  np.testing.assert_allclose(got, 0.5 * X + 0.25 + scale * 2 * 2.5, rtol=1e-6)


def test_no_condition_is_not_a_condition_of_zeros():
  field = linear()
  null = field.sample_field(PARAMS, X, 0.3, None)
  np.testing.assert_allclose(null, 0.5 * X + 0.25, rtol=1e-6)
  zeros = field.sample_field(PARAMS, X, 0.3, np.zeros(2, np.float32))
  np.testing.assert_allclose(zeros, null + 2.0, rtol=1e-6)


@EVERY
def test_samples_with_guidance_1_are_conditional_and_with_0_are_not(family):
  def draw(scale, condition):
    generator = toy(family, condition_size=2, drop_condition=0.5, guidance=scale)
    params = jax.tree.map(lambda w: 0.1 * w, PARAMS)
    given = None if condition is None else np.tile(condition, (5, 1))
    return np.asarray(generator.sample(params, jax.random.key(0), 5, shape=(2, 3), condition=given))

  conditional, none = draw(1.0, CONDITION), draw(1.0, None)
  assert np.all(conditional != none)
  np.testing.assert_allclose(draw(0.0, CONDITION), none, rtol=1e-6)
  # In a linear model the samples, too, are linear in the guidance.
  twice = draw(2.0, CONDITION)
  np.testing.assert_allclose(twice - none, 2 * (conditional - none), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_that_share_of_the_conditions_is_dropped_in_training(share):
  field = linear(share)
  keys = jax.random.split(jax.random.key(0), 2000)
  train = jax.jit(jax.vmap(lambda key: field.train_field(PARAMS, X, 0.3, CONDITION, key)))
  dropped = np.all(np.asarray(train(keys)) == 0.5 * X[None] + 0.25, (1, 2))
  error = np.sqrt(share * (1 - share) / 2000)
  assert abs(dropped.mean() - share) <= 4 * error
  kept = field.train_field(PARAMS, X, 0.3, CONDITION, None)  # Not training.
  assert np.all(np.asarray(kept) != 0.5 * X + 0.25)


@EVERY
def test_with_all_conditions_dropped_the_unconditional_is_learned(family):
  generator = toy(family, condition_size=2, drop_condition=1.0)
  batch = np.random.default_rng(0).standard_normal((16, 2, 3))
  batch = batch.astype(np.float32)
  given = np.ones((16, 2), np.float32)

  def gradient(condition):
    loss = jax.jit(jax.grad(lambda p: generator.loss(
      p, batch, jax.random.key(1), condition)[0]))  # fmt: skip
    return loss(PARAMS)

  with_it, without = gradient(given), gradient(None)
  assert float(with_it['c']) == 0
  jax.tree.map(np.testing.assert_array_equal, with_it, without)


@pytest.mark.parametrize(
  'keys,message',
  [
    ({'drop_condition': 0.1}, 'drop_condition is 0.1'),
    ({'condition_size': 2, 'drop_condition': 1.5}, 'drop_condition is 1.5'),
    ({'condition_size': 2, 'guidance': 2.0}, 'guidance is 2.0'),
  ],
)
@EVERY
def test_bad_settings_are_refused(family, keys, message):
  with pytest.raises(ValueError, match=message):
    FAMILIES[family](**keys)


def test_conditions_of_the_wrong_size_are_refused():
  with pytest.raises(ValueError, match=r'shape \(3,\); allowed: \(2,\)'):
    linear().sample_field(PARAMS, X, 0.3, np.ones(3, np.float32))
  with pytest.raises(ValueError, match='no null condition'):
    linear(drop_condition=0.0).sample_field(PARAMS, X, 0.3, None)
  plain = guidance.ConditionalField(fields.Linear())
  with pytest.raises(ValueError, match='allowed: None'):
    plain.sample_field(PARAMS, X, 0.3, CONDITION)


def test_a_guided_field_has_the_gradient_through_the_estimate():
  guided = guidance.guided_field(
    lambda x, t: jnp.zeros_like(x),
    clean_estimate=lambda x, t: t * x,
    task_loss=lambda x: jnp.sum((x - 1) ** 2),
    scale=0.1,
  )
  x, t = X[:, None], 2.0
  want = -0.1 * 2 * t * (t * x - 1)
  np.testing.assert_allclose(guided(x, t), want, rtol=1e-6)


def target_loss(latents):
  return jnp.sum((latents - 2.0) ** 2)


def gaussian(family):
  """Exact for N(0, 0.5^2), with parameters."""
  if family == 'flow_matching':
    backbone = fields.Velocity(((0.0, 0.0),), ((0.5, 0.5),))
    generator = toy(family, backbone)
  else:
    plain = FAMILIES[family](data_std=0.5)
    backbone = fields.Residual(0.0, 0.5, plain.sigma)
    generator = toy(family, backbone, data_std=0.5)
  return generator, jax.jit(generator.init)(jax.random.key(0), np.zeros((1, 2)))


@pytest.mark.slow
@EVERY
def test_samples_under_a_task_loss_have_less_of_it(family):
  generator, params = gaussian(family)

  def draw(**keys):
    key = jax.random.key(0)
    return np.asarray(generator.sample(params, key, 64, shape=(1, 2), **keys))

  plain = draw()
  np.testing.assert_array_equal(draw(task_loss=target_loss), plain)
  guided = draw(task_loss=target_loss, task_scale=0.5)
  before, after = (np.sum((x - 2) ** 2, (1, 2)) for x in (plain, guided))
  assert np.all(after < before)
  assert after.mean() < 0.7 * before.mean()


@pytest.mark.slow
def test_the_score_is_weighted_by_the_exponential_of_the_loss():
  # A linear loss shifts a Gaussian by variance x slope, and nothing else.
  generator, params = gaussian('diffusion')
  generator = dataclasses.replace(generator, num_steps=48, solver='heun')
  plain, tilted = (
    np.asarray(
      generator.sample(
        params, jax.random.key(0), 64, shape=(1, 2), task_loss=jnp.sum, task_scale=scale
      )
    )
    for scale in (0.0, 2.0)
  )
  np.testing.assert_allclose(tilted - plain, -2.0 * 0.25, atol=0.03)
