"""The stack: equivariant output, universal enough to copy, vmap and jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import strategies
from wsjax import testing
from wsjax.editors import neural_functional
from wsjax.layers import spec_layers
from wsjax.models import mlp

CASES = {'mlp': strategies.make_mlp(), 'cnn': strategies.make_cnn()}


def editor(case, **options):
  return neural_functional.NeuralFunctional(case.model, channels=8, depth=2, **options)


@pytest.mark.parametrize(('name', 'max_folded'), (('mlp', 1), ('cnn', 64)))
def test_edited_weights_move_with_the_weights(name, max_folded):
  case = CASES[name]
  module = editor(case, fourier=2, max_folded=max_folded)

  def init(key, features):
    return module.init(key, {k: v[..., 0] for k, v in features.items()})

  def apply(variables, features):
    edited = module.apply(variables, {k: v[..., 0] for k, v in features.items()})
    case.spec.check(edited)
    return {k: v[..., None] for k, v in edited.items()}

  testing.assert_equivariant((init, apply), case.spec, channels=1)


def test_networks_are_batched_by_vmap():
  case = CASES['mlp']
  module = editor(case)
  zoo = jax.tree.map(jnp.asarray, case.params(0, 3))
  one = jax.tree.map(lambda x: x[0], zoo)
  variables = jax.jit(module.init)(jax.random.key(0), one)
  many = jax.jit(jax.vmap(lambda p: module.apply(variables, p)))(zoo)
  for path, value in jax.jit(module.apply)(variables, one).items():
    np.testing.assert_allclose(many[path][0], value, atol=1e-5)


def test_a_deeper_pinned_input_costs_no_hidden_channels():
  """Pinned weights are folded into the first layer only."""
  shapes = []
  for width in (4, 40):
    model = mlp.MLP((width, 6, 2))
    stack = spec_layers.SlotStack(model, channels=8, depth=2)
    params = {leaf.path: jnp.ones(leaf.shape) for leaf in model.spec.leaves}
    variables = jax.jit(stack.init)(jax.random.key(0), params)['params']
    shapes.append(jax.tree.map(lambda x: x.shape, variables['layer1']))
  assert shapes[0] == shapes[1]
