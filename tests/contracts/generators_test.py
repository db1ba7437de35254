"""Every generator learns two modes, and samples them reproducibly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from wsjax import config, testing
from wsjax.generators import flow

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


def build(name, **options):
  return config.build('generators', {'name': name, **SMALL.get(name, {}), **options})


# What compiles for long has its laws tested one by one in tests/generators.
HEAVY = ('autoregressive', 'diffusion', 'flow', 'flow_matching', 'graph_flow')


@pytest.mark.parametrize('name', marks.slow(config.plugins('generators'), *HEAVY))
def test_a_generator_keeps_the_contract(name):
  generator = build(name)
  conditional = None if hasattr(generator, 'fit') else build(name, condition_size=2)
  shape = (1, 4) if 'architecture' in SMALL.get(name, {}) else (2, 2)
  testing.check_generator(generator, shape=shape, conditional=conditional)


@dataclasses.dataclass(frozen=True)
class Gaussian(flow.Flow):
  """A sound generator of one mode, and faults by name."""

  fault: str = ''

  def loss(self, params, batch, key, condition=None, *, train=True):
    value, metrics = super().loss(params, batch, key, condition, train=train)
    return (jnp.float32(1) if self.fault == 'loss' else value), metrics

  def sample(self, params, key, num, *, shape, condition=None):
    if self.fault == 'key':
      key = jax.random.key(0)
    if self.fault == 'condition' and condition is not None:
      condition = 0 * condition
    made = super().sample(params, key, num, shape=shape, condition=condition)
    factor = {'spread': 0.2, 'nan': np.nan, 'one mode': jnp.sign(made[:1]) * jnp.sign(made)}
    return made * factor.get(self.fault, 1)

  def log_prob(self, params, x, condition=None):
    density = super().log_prob(params, x, condition)
    return density + 1 if self.fault == 'density' else density


# Fault -> what is said of it.
WORDS = {
  'loss': 'loss does not fall',
  'key': 'does not depend on its key',
  'condition': 'condition does not change `sample`',
  'spread': 'spread of samples',
  'nan': 'nan|finite',
  'one mode': 'mean of samples|modes',
  'density': 'log_prob',
}


@pytest.mark.parametrize('fault', marks.slow(WORDS, 'density', 'key', 'spread', 'nan', 'one mode'))
def test_a_planted_fault_is_named(fault):
  small = {**SMALL['flow'], 'fault': fault}
  conditional = Gaussian(**small, condition_size=2) if fault == 'condition' else None
  with pytest.raises(AssertionError, match=WORDS[fault]):
    testing.check_generator(Gaussian(**small), conditional=conditional)
