"""Models of other libraries keep their names and obey the law of their inferred symmetry."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wsjax import testing
from wsjax.models import mlp, model

IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
ROWS = IMAGES.reshape(4, -1)[:, :6]


class Linen(nn.Module):
  """A convolution with batch norm, then dense layers."""

  @nn.compact
  def __call__(self, x, train=True):
    x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(6, (3, 3))(x)))
    x = nn.LayerNorm()(nn.gelu(nn.Dense(5)(x.mean((1, 2)))))
    return nn.Dense(3)(x)


class Nnx(nnx.Module):
  """As above, with dropout and so with random state."""

  def __init__(self, rngs):
    self.conv = nnx.Conv(3, 6, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(6, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.layers = nnx.List([nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])

  def __call__(self, x):
    x = self.dropout(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))
    return self.layers[1](jnp.tanh(self.layers[0](x)))


class HaikuLike:
  """The two functions of `haiku.transform`."""

  def init(self, rng, x):
    keys = jax.random.split(rng)
    return {
      'mlp/linear': {'w': jax.random.normal(keys[0], (x.shape[1], 5)), 'b': jnp.zeros(5)},
      'mlp/out': {'w': jax.random.normal(keys[1], (5, 2))},
    }

  def apply(self, params, rng, x):
    assert rng is None
    layer = params['mlp/linear']
    return jax.nn.silu(x @ layer['w'] + layer['b'][None]) @ params['mlp/out']['w']


def tree_apply(params, x):
  return jnp.tanh(x @ params['in']['w'] + params['in']['b'][None]) @ params['out'][0]


def tree_init(key):
  keys = jax.random.split(key)
  return {
    'in': {'w': jax.random.normal(keys[0], (6, 4)), 'b': jnp.zeros(4)},
    'out': [jax.random.normal(keys[1], (4, 2))],
  }


def equinox_mlp(key):
  return eqx.nn.MLP(6, 3, 5, 2, key=key)


MODELS = {
  'flax': lambda: model.Model.from_flax(Linen(), IMAGES, call={'train': False}),
  'nnx': lambda: model.Model.from_nnx(Nnx, IMAGES),
  'equinox': lambda: model.Model.from_equinox(equinox_mlp, ROWS),
  'haiku': lambda: model.Model.from_haiku(HaikuLike(), ROWS),
  'function': lambda: model.Model.from_function(
    tree_apply, jax.eval_shape(tree_init, jax.random.key(0)), ROWS, init=tree_init
  ),
}
# One name that the library gave, and the sizes and further kinds of groups.
EXPECTED = {
  'flax': ('batch_stats/BatchNorm_0/mean', [(6, ()), (5, ())]),
  'nnx': ('layers/0/kernel', [(6, ()), (5, ('sign',))]),
  'equinox': ('layers/1/weight', [(5, ('positive_scale',)), (5, ('positive_scale',))]),
  'haiku': ('mlp/linear/w', [(5, ())]),
  'function': ('out/0', [(4, ('sign',))]),
}


@pytest.mark.parametrize('name', MODELS)
def test_a_model_of_another_library_passes_the_contract(name):
  made = MODELS[name]()
  assert testing.check_model(made) < 1e-5
  path, groups = EXPECTED[name]
  assert path in made.shapes
  assert [(group.size, group.kinds[1:]) for group in made.spec.groups] == groups
  stacked = jax.vmap(made.init)(jax.random.split(jax.random.key(0), 3))
  made.spec.check(stacked, stacked=True)
  assert made.num_outputs(made.example) == made.apply(made.init(jax.random.key(0)),
                                                      made.example).shape[1]  # fmt: skip


def test_a_network_takes_its_native_form_and_computes_the_same():
  module = Linen()
  made = model.Model.from_flax(module, IMAGES, call={'train': False})
  variables = jax.jit(module.init, static_argnames='train')(jax.random.key(1), IMAGES, train=False)
  outputs = made.apply(made.flatten(variables), IMAGES)
  np.testing.assert_array_equal(outputs, module.apply(variables, IMAGES, train=False))
  assert jax.tree.structure(made.unflatten(made.flatten(variables))) == jax.tree.structure(
    variables
  )


def test_a_module_is_converted_in_evaluation_mode_and_left_as_it_is():
  module = Nnx(nnx.Rngs(0))
  made = model.Model.from_nnx(module, IMAGES)
  params = made.flatten(module)
  np.testing.assert_array_equal(made.apply(params, IMAGES), jax.jit(made.apply)(params, IMAGES))
  assert not module.norm.use_running_average
  assert isinstance(made.unflatten(params), Nnx)
  with pytest.raises(ValueError):
    made.init(jax.random.key(0))


def test_half_precision_is_kept():
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree_init(jax.random.key(0)))
  made = model.Model.from_function(tree_apply, params, ROWS)
  assert {x.dtype.name for x in made.shapes.values()} == {'bfloat16'}


def test_a_given_spec_takes_the_place_of_the_inferred_one():
  made = MODELS['function']()
  plain = made.spec.permutations_only()
  given = model.Model.from_function(tree_apply, tree_init(jax.random.key(0)), ROWS, spec=plain)
  assert given.spec is plain
  with pytest.raises(ValueError):
    model.Model.from_function(tree_apply, {'in': np.zeros(3)}, ROWS, spec=plain)


def test_wrong_trees_and_options_are_refused():
  made = MODELS['function']()
  with pytest.raises(ValueError, match='out/0'):
    made.flatten({'in': {'w': 1, 'b': 2}})
  with pytest.raises(ValueError, match='specs'):
    model.Model.from_flax(Linen(), IMAGES, specs=None)
  with pytest.raises(ValueError):
    model.Model.from_function(tree_apply, {}, ROWS)
  with pytest.raises(ValueError, match='dropout'):
    made.apply(made.init(jax.random.key(0)), ROWS, (jax.random.key(0), 0.5))


def test_the_check_names_a_false_symmetry():
  tanh = mlp.MLP((6, 5, 4, 3), 'tanh')

  class Lying(type(tanh)):
    spec = mlp.MLP((6, 5, 4, 3), 'relu').spec

  with pytest.raises(AssertionError, match="positive_scale of group 'hidden0'"):
    testing.check_model(Lying((6, 5, 4, 3), 'tanh'))
  assert testing.check_model(tanh) < 1e-5
