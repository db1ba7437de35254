"""Models of other libraries keep their names and obey the law of their inferred symmetry."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wsjax import testing
from wsjax.models import mlp, model
from wsjax.tokens import neurons

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


class StatefulHaikuLike:
  """The two functions of `haiku.transform_with_state`, with a mean that a counter corrects."""

  def init(self, rng, x, is_training):
    assert is_training
    params = HaikuLike().init(rng, x)
    return params, {'norm/~/mean': {'hidden': jnp.ones(5), 'counter': jnp.zeros((), jnp.int32)}}

  def apply(self, params, state, rng, x, is_training):
    assert rng is None and not is_training
    layer, norm = params['mlp/linear'], state['norm/~/mean']
    mean = norm['hidden'] / (1 - 0.5 ** (norm['counter'] + 1))
    h = jax.nn.silu(x @ layer['w'] + layer['b'][None] - mean[None])
    return h @ params['mlp/out']['w'], state


class Stateful(eqx.Module):
  """A convolution with batch norm, whose variance a counter corrects, then a dense layer."""

  conv: eqx.nn.Conv2d
  norm: eqx.nn.BatchNorm
  out: eqx.nn.Linear

  def __init__(self, key):
    keys = jax.random.split(key)
    self.conv = eqx.nn.Conv2d(3, 6, 3, key=keys[0])
    self.norm = eqx.nn.BatchNorm(6, 'batch', mode='batch')
    self.out = eqx.nn.Linear(6, 3, key=keys[1])

  def __call__(self, x, state):
    x, state = self.norm(self.conv(x), state)
    return self.out(jax.nn.relu(x).mean((1, 2))), state


CHANNELS_FIRST = IMAGES.transpose(0, 3, 1, 2)


def equinox_with_state(key):
  """A network whose statistics are those of two batches."""
  module, state = eqx.nn.make_with_state(Stateful)(key)
  run = jax.vmap(module, axis_name='batch', in_axes=(0, None), out_axes=(0, None))
  for _ in range(2):
    state = run(CHANNELS_FIRST, state)[1]
  return module, state


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
  'equinox with state': lambda: model.Model.from_equinox(equinox_with_state, CHANNELS_FIRST),
  'haiku with state': lambda: model.Model.from_haiku(
    StatefulHaikuLike(), ROWS, call={'is_training': False}, init_call={'is_training': True}
  ),
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
  'equinox with state': ('state/norm/batch_counter', [(6, ())]),
  'haiku with state': ('state/norm/~/mean/counter', [(5, ())]),
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


def test_state_is_a_part_of_a_network():
  made = MODELS['equinox with state']()
  module, state = equinox_with_state(jax.random.key(3))
  inference = eqx.nn.inference_mode(module)
  outputs, _ = jax.vmap(inference, in_axes=(0, None), out_axes=(0, None))(CHANNELS_FIRST, state)
  params = made.flatten((module, state))
  np.testing.assert_allclose(made.apply(params, CHANNELS_FIRST), outputs, atol=1e-6)
  assert eqx.tree_equal(made.unflatten(params), (inference, state))
  testing.check_tokens(neurons.Neurons(), made.spec)


def test_a_module_is_converted_in_evaluation_mode_and_left_as_it_is():
  module = Nnx(nnx.Rngs(0))
  made = model.Model.from_nnx(module, IMAGES)
  params = made.flatten(module)
  np.testing.assert_array_equal(made.apply(params, IMAGES), jax.jit(made.apply)(params, IMAGES))
  assert not module.norm.use_running_average
  assert isinstance(made.unflatten(params), Nnx)
  with pytest.raises(ValueError):
    made.init(jax.random.key(0))


def test_what_a_function_keeps_from_its_first_call_is_no_tracer():
  @functools.cache
  def base():
    return jax.random.normal(jax.random.key(0), (6, 4))

  def apply(params, x):
    return jnp.tanh(x @ (base() + params['change'])) @ params['out']

  params = {'change': jnp.ones((6, 4)), 'out': jnp.ones((4, 2))}
  made = model.Model.from_function(apply, params, ROWS)
  assert [group.size for group in made.spec.groups] == []  # The base tells its units apart.
  np.testing.assert_allclose(jax.jit(made.apply)(params, ROWS), apply(params, ROWS), rtol=1e-5)


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


@pytest.mark.parametrize('made, path', [
  ('Nnx, IMAGES', 'layers/0/kernel'),
  ('lambda rngs: Nnx(rngs), IMAGES', 'layers/0/kernel'),
  ('equinox_mlp, ROWS', 'layers/1/weight'),
  ('equinox_with_state, CHANNELS_FIRST', 'state/norm/batch_counter'),
  ('equinox_with_state(jax.random.key(0)), CHANNELS_FIRST', 'state/norm/batch_counter'),
])  # fmt: skip
def test_a_file_gives_what_draws_networks_or_one_with_its_state(made, path, tmp_path):
  file = tmp_path / 'net.py'
  file.write_text(
    f'import jax\nfrom tests.models.convert_test import *\ndef net():\n  return {made}\n'
  )
  found = model.load(f'{file}:net', '--model')
  assert path in found.shapes and found.can_init == ('key(0)' not in made)
