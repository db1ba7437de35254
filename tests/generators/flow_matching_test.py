"""The published options of flow matching."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.reference import fields
from wsjax.generators import flow_matching

BACKBONE = {'name': 'mlp', 'width': 16, 'depth': 1}


def test_the_fixed_source_is_a_set_of_that_many_draws():
  generator = flow_matching.FlowMatching(BACKBONE, source_std=0.01, source_draws=5)
  draws = np.asarray(generator._source(jax.random.key(0), (400, 1, 3)))
  unique = np.unique(draws.reshape(400, -1), axis=0)
  assert len(unique) == 5
  other = np.asarray(generator._source(jax.random.key(1), (400, 1, 3)))
  np.testing.assert_array_equal(np.unique(other.reshape(400, -1), axis=0), unique)
  assert 0.003 < unique.std() < 0.03


def test_a_new_model_keeps_the_source_where_it_is():
  generator = flow_matching.FlowMatching(BACKBONE, source_std=0.5, num_steps=4)
  params = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((1, 2)))
  x = generator.sample(params, jax.random.key(1), 4000, shape=(1, 2))
  assert abs(float(jnp.std(x)) - 0.5) < 0.02


def test_the_loss_of_no_velocity_is_the_squared_distance():
  generator = flow_matching.FlowMatching(BACKBONE, source_std=0.5, path_std=0.1)
  batch = np.full((4000, 1, 2), 3.0, np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), batch[0])
  loss, _ = jax.jit(generator.loss)(params, batch, jax.random.key(1))
  assert abs(float(loss) - (9 + 0.25)) < 0.1


def test_unknown_solvers_are_refused():
  with pytest.raises(ValueError, match='solver'):
    flow_matching.FlowMatching(BACKBONE, solver='dopri')


def test_the_density_of_a_gaussian_is_known():
  mean, std = ((1.0, -0.5), (0.0, 2.0)), ((0.3, 0.5), (1.0, 2.0))
  generator = flow_matching.FlowMatching(BACKBONE, num_steps=30)
  generator = dataclasses.replace(generator, backbone=fields.Velocity(mean, std))
  x = np.random.default_rng(0).normal(mean, std, (5, 2, 2)).astype(np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), x[0])
  want = scipy.stats.norm.logpdf(x, mean, std).sum((1, 2))
  got = jax.jit(generator.log_prob)(params, x)
  np.testing.assert_allclose(got, want, atol=1e-3)
  # The Jacobian is diagonal: then random signs make no error.
  got = generator.log_prob(params, x, trace='hutchinson', key=jax.random.key(1))
  np.testing.assert_allclose(got, want, atol=1e-3)


def test_a_new_model_has_the_density_of_its_source():
  generator = flow_matching.FlowMatching(BACKBONE, source_std=0.5, source_draws=3, num_steps=2)
  x = np.random.default_rng(0).normal(0, 0.5, (5, 1, 2)).astype(np.float32)
  params = jax.jit(generator.init)(jax.random.key(0), x[0])
  want = scipy.stats.norm.logpdf(x, scale=0.5).sum((1, 2))
  np.testing.assert_allclose(generator.log_prob(params, x), want, rtol=1e-5)
