"""Every backbone: one example in, its shape out, and everything is read."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import config, testing

# 15 weights, as many as the tokens of the other backbones have numbers.
ARCHITECTURE = {'name': 'mlp', 'widths': (2, 2, 3), 'activation': 'relu'}
SMALL = {
  'mlp': {'width': 16, 'depth': 2},
  'deep_weight_flow': {'width': 16, 'time_features': 8},
  'transformer': {'width': 16, 'depth': 2, 'num_heads': 2},
  'graph_transformer': {
    'architecture': ARCHITECTURE,
    'width': 16,
    'edge_width': 8,
    'depth': 1,
    'num_heads': 2,
  },
  'neural_functional': {'architecture': ARCHITECTURE, 'width': 16, 'depth': 1},
}
X = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)


@pytest.mark.parametrize('name', config.plugins('generators.backbones'))
def test_a_backbone_keeps_the_contract(name):
  section = {'name': name, **SMALL.get(name, {})}
  backbone, dropout = (
    config.build('generators.backbones', {**section, 'dropout': rate}) for rate in (0.0, 0.5)
  )
  example = X.reshape(1, -1) if 'architecture' in section else X
  testing.check_backbone(backbone, example, dropout=dropout)


class Deaf(nn.Module):
  """A backbone that ignores the time."""

  @nn.compact
  def __call__(self, x, t, condition=None, *, train=False):
    h = jnp.concatenate([x.ravel(), condition])
    return nn.Dense(x.size, kernel_init=nn.initializers.zeros)(h).reshape(x.shape)


def test_a_backbone_that_ignores_the_time_is_caught():
  with pytest.raises(AssertionError, match='depend on the time'):
    testing.check_backbone(Deaf(), X)


def test_heads_that_do_not_divide_the_width_are_refused():
  section = {'name': 'transformer', 'width': 10, 'num_heads': 4}
  with pytest.raises(ValueError, match='does not divide into 4 heads'):
    config.build('generators.backbones', section)
