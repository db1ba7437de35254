"""Noise and networks in pairs of least distance."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from wsjax.generators import flow_matching


def draws(seed, num=6):
  rng = np.random.default_rng(seed)
  return rng.standard_normal((2, num, 2, 3)).astype(np.float32)


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(seed=hypothesis.strategies.integers(0, 1000))
def test_the_pairs_are_those_of_scipy(seed):
  source, batch = draws(seed)
  cost = np.sum((batch[:, None] - source[None]) ** 2, (2, 3))
  _, order = optimize.linear_sum_assignment(cost)
  np.testing.assert_array_equal(flow_matching.pair(source, batch), source[order])


def test_noise_is_neither_lost_nor_drawn_twice():
  source, batch = draws(0)
  paired = np.asarray(flow_matching.pair(source, batch)).reshape(6, -1)
  want = np.sort(source.reshape(6, -1), axis=0)
  np.testing.assert_array_equal(np.sort(paired, axis=0), want)


def test_paths_of_transport_are_shorter():
  backbone = {'name': 'mlp', 'width': 8, 'depth': 1}
  batch = 2 * np.random.default_rng(0).standard_normal((64, 1, 2))
  batch = jnp.asarray(batch, jnp.float32)
  losses = {}
  for coupling in flow_matching.COUPLINGS:
    generator = flow_matching.FlowMatching(backbone, coupling=coupling)
    params = jax.jit(generator.init)(jax.random.key(0), batch[0])
    # Of a new model, whose velocity is 0, the loss is the squared length.
    losses[coupling] = jax.jit(generator.loss)(params, batch, jax.random.key(1))[0]
  assert losses['transport'] < 0.5 * losses['independent']


def test_an_unknown_coupling_is_refused():
  with pytest.raises(ValueError, match='coupling'):
    flow_matching.FlowMatching({'name': 'mlp'}, coupling='sinkhorn')


def test_noise_that_would_know_its_condition_is_refused():
  with pytest.raises(ValueError, match='does not see conditions'):
    flow_matching.FlowMatching({'name': 'mlp'}, coupling='transport', condition_size=1)
