"""The density of the flow is a density."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from wsjax.generators import flow


def randomized(generator, shape, seed=0, scale=0.3):
  params = jax.eval_shape(generator.init, jax.random.key(0), np.zeros(shape, np.float32))
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: scale * rng.standard_normal(leaf.shape).astype(np.float32), params
  )


# Splines have laws of their own in coupling_test.py.
COUPLINGS = pytest.mark.parametrize('coupling', marks.slow(flow.COUPLINGS, 'spline'))


@COUPLINGS
def test_a_new_flow_has_the_density_of_a_gaussian(coupling):
  generator = flow.Flow(4, width=16, coupling=coupling)
  x = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), x[0])
  want = -0.5 * np.sum(x**2, (1, 2)) - 3 * math.log(2 * math.pi)
  np.testing.assert_allclose(jax.jit(generator.log_prob)(params, x), want, rtol=1e-5)


@COUPLINGS
def test_the_density_integrates_to_one(coupling):
  generator = flow.Flow(4, width=16, coupling=coupling)
  params = randomized(generator, (1, 2))
  axis = np.linspace(-12, 12, 400, dtype=np.float32)
  grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)
  density = np.exp(np.asarray(jax.jit(generator.log_prob)(params, grid), np.float64))
  cell = float(axis[1] - axis[0]) ** 2
  assert abs(np.sum(density) * cell - 1) < 5e-3


@COUPLINGS
def test_samples_follow_the_density(coupling):
  generator = flow.Flow(4, width=16, coupling=coupling)
  params = randomized(generator, (1, 2), scale=0.2)
  x = generator.sample(params, jax.random.key(1), 4000, shape=(1, 2))
  # E[q(x) / p(x)] = 1 under samples of p, for any density q.
  spread = np.asarray(x).std((0, 1))
  mean = np.asarray(x).mean((0, 1))
  log_q = jax.scipy.stats.norm.logpdf(x, mean[None, None], 0.8 * spread[None, None])
  ratio = jnp.exp(log_q.sum((1, 2)) - jax.jit(generator.log_prob)(params, x))
  assert abs(float(ratio.mean()) - 1) < 0.1


def test_conditions_change_the_density():
  generator = flow.Flow(num_layers=2, width=16, condition_size=2)
  params = randomized(generator, (1, 3))
  x = np.ones((2, 1, 3), np.float32)
  one, two = jax.jit(generator.log_prob)(params, x, np.eye(2, dtype=np.float32))
  assert float(one) != float(two)
  drawn = generator.sample(params, jax.random.key(0), 2, shape=(1, 3), condition=np.eye(2))
  assert drawn.shape == (2, 1, 3)


def test_training_noise_is_off_when_not_training():
  generator = flow.Flow(num_layers=2, width=16, noise_std=0.5)
  x = np.ones((4, 1, 3), np.float32)
  params = randomized(generator, (1, 3))
  loss = jax.jit(generator.loss, static_argnames='train')
  losses = [
    [float(loss(params, x, jax.random.key(k), train=train)[0]) for k in (0, 1)]
    for train in (True, False)
  ]
  assert losses[0][0] != losses[0][1]
  assert losses[1][0] == losses[1][1]
  nats = -float(jnp.mean(jax.jit(generator.log_prob)(params, x))) / 3
  np.testing.assert_allclose(losses[1][0], nats, rtol=1e-5)


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match='num_layers'):
    flow.Flow(num_layers=0)
  with pytest.raises(ValueError, match='coupling'):
    flow.Flow(coupling='additive')
  with pytest.raises(ValueError, match='num_bins'):
    flow.Flow(coupling='spline', num_bins=1)
