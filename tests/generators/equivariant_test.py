"""Fields and losses that move with the hidden units of the networks."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks, strategies
from wsjax import config, testing
from wsjax.experiments import configs
from wsjax.generators.backbones import graph_transformer, mlp, neural_functional
from wsjax.generators.parts import unit_slots
from wsjax.tokens import layout

CONFIG = pathlib.Path(__file__).parents[2] / 'configs/digits_equivariant.py'
NETWORK = {'name': 'mlp', 'widths': (5, 4, 2), 'activation': 'relu'}
SPEC = config.build('models', NETWORK).spec
ONLY_ORDER = SPEC.permutations_only()
# A recurrent kernel joins a group to itself; a flatten leaves blocks of pixels.
CASES = {
  'mlp': strategies.make_mlp((5, 4, 3, 2)),
  'cnn': strategies.make_cnn((2, 3), 4),
  'rnn': strategies.make_recurrent(4),
}


def shaken(init, *args):
  """Parameters that are nowhere zero, and took no compilation."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      rng.standard_normal(leaf.shape) / max(leaf.shape[:1] + (1,)) ** 0.5, jnp.float32
    ),
    jax.eval_shape(init, jax.random.key(0), *args),
  )


def field(module, spec):
  """The backbone as a map between weights, with nothing of it at zero."""
  condition = jnp.asarray([0.3, -1.0])
  tokens = jnp.zeros((1, spec.num_params))
  params = shaken(module.init, tokens, jnp.float32(0.4), condition)

  @jax.jit
  def run(weights):
    x = layout.flatten(weights, spec)[None]
    out = module.apply(params, x, jnp.float32(0.4), condition)
    return layout.unflatten(out[0], spec)

  return run


def check(module, case):
  """Relative error of reordering before and behind the field."""
  weights = {p: jnp.asarray(w) for p, w in case.params(0).items()}
  return testing.assert_law(
    field(module, case.spec),
    weights,
    case.spec,
    lambda g, value: case.spec.act(g, value),
    kinds=('permutation',),
    key=jax.random.key(2),
    tolerance=1e-4,
  )


@pytest.mark.parametrize('name', marks.slow(['cnn', 'rnn'], 'rnn'))
def test_the_fields_move_with_the_units(name):
  case = CASES[name]
  check(graph_transformer.GraphTransformer(case, 8, 4, 1, 2), case)
  check(neural_functional.NeuralFunctional(case, 8, 1), case)


def test_a_field_that_knows_the_order_is_caught():
  with pytest.raises(AssertionError, match="permutation of group 'hidden0'"):
    check(mlp.MLP(width=16, depth=1), CASES['mlp'])


def test_a_planted_position_of_the_units_is_caught(monkeypatch, fresh_programs):
  read = unit_slots.read

  def marked(params, spec):
    return {
      labels: value + 0.1 * jnp.arange(len(value)).reshape(-1, 1)
      if len(labels) == 1 else value
      for labels, value in read(params, spec).items()
    }  # fmt: skip

  monkeypatch.setattr(unit_slots, 'read', marked)
  case = CASES['mlp']
  with pytest.raises(AssertionError, match="permutation of group 'hidden0'"):
    check(graph_transformer.GraphTransformer(case, 8, 4, 1, 2), case)


def move(g, tokens):
  """[b, 1, D] flat tokens of networks, all reordered by g."""

  def one(x):
    weights = ONLY_ORDER.act(g, layout.unflatten(x[0], SPEC))
    return layout.flatten(weights, SPEC)[None]

  return jax.vmap(one)(tokens)


def losses_of_moved(name, backbone, monkeypatch):
  """Loss of (batch, noise), and of both reordered: noise of the same law."""
  generator = config.build('generators', {'name': name, 'backbone': backbone})
  batch = jax.random.normal(jax.random.key(0), (8, 1, SPEC.num_params))
  params = shaken(generator.init, batch[0])
  g = ONLY_ORDER.random(jax.random.key(3))
  normal = jax.random.normal

  def moved_normal(key, shape=(), dtype=float):
    drawn = normal(key, shape, dtype)
    return move(g, drawn) if shape == batch.shape else drawn

  loss = functools.partial(generator.loss, params, key=jax.random.key(4))
  before = float(jax.jit(lambda b: loss(batch=b)[0])(batch))
  monkeypatch.setattr(jax.random, 'normal', moved_normal)
  return before, float(jax.jit(lambda b: loss(batch=b)[0])(move(g, batch)))


EQUIVARIANT = {'name': 'neural_functional', 'architecture': NETWORK, 'width': 8, 'depth': 1}


@pytest.mark.parametrize('name', marks.slow(['flow_matching', 'diffusion'], 'diffusion'))
def test_the_loss_does_not_see_the_order_of_units(name, monkeypatch):
  before, after = losses_of_moved(name, EQUIVARIANT, monkeypatch)
  np.testing.assert_allclose(after, before, rtol=1e-5)


def test_the_loss_of_an_mlp_sees_the_order_of_units(monkeypatch):
  plain = {'name': 'mlp', 'width': 16, 'depth': 1}
  before, after = losses_of_moved('flow_matching', plain, monkeypatch)
  assert abs(after - before) > 1e-3 * before


@pytest.mark.parametrize('name', CASES)
def test_slots_hold_every_weight_once(name):
  case = CASES[name]
  weights = case.params(1)
  slots = unit_slots.read(weights, case.spec)
  assert {k: v.shape[-1] for k, v in slots.items()} == dict(unit_slots.channels(case.spec))
  assert sum(v.size for v in slots.values()) == case.spec.num_params
  back = unit_slots.write(slots, case.spec)
  for path, value in weights.items():
    np.testing.assert_array_equal(back[path], value)


@pytest.mark.parametrize('arg', ['', 'smoke', 'backbone=neural_functional', 'generator=graph_flow'])
def test_every_arm_of_the_config_is_made_for_its_zoo(arg):
  config_of = configs.load(f'{CONFIG}:{arg}', [])[0]
  generator = config.build('generators', config_of.generator.to_dict())
  example = jax.ShapeDtypeStruct((1, 1210), jnp.float32)
  params = jax.eval_shape(generator.init, jax.random.key(0), example)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1_000


def test_tokens_of_another_kind_are_refused():
  module = graph_transformer.GraphTransformer(NETWORK, width=8, num_heads=2)
  tokens = jnp.zeros((3, 5))
  with pytest.raises(ValueError, match='tokens of shape'):
    module.init(jax.random.key(0), tokens, jnp.float32(0))


def test_heads_that_do_not_divide_the_width_are_refused():
  with pytest.raises(ValueError, match='10 does not divide into 4 heads'):
    graph_transformer.GraphTransformer(NETWORK, width=10)
