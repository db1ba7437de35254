"""Every architecture: what its file says about itself is true."""

import ast
import dataclasses
import functools

import chex
import jax
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import marks
from wsjax import config
from wsjax.symmetry import spec as spec_lib

NAMES = config.plugins('models')
# Small cases per plug-in, and the shape of one input. A plug-in that is not here is tested with its
# defaults on images of 28 x 28.
CASES = {
  'mlp': [
    (dict(widths=(6, 5, 4, 3), activation='relu'), (6,)),
    (dict(widths=(4, 7, 2), activation='tanh'), (2, 2, 1)),
    (dict(widths=(4, 3, 3, 2), activation='gelu'), (4,)),
    (dict(widths=(4, 3, 2), activation='leaky_relu'), (4,)),
    (dict(widths=(3, 5, 2), output_activation='tanh'), (3,)),
    (dict(widths=(5, 2)), (5,)),
  ],
  'cnn': [
    (dict(image=(8, 7, 2), channels=(3, 4), dense=(5,), num_classes=3), (8, 7, 2)),
    (
      dict(image=(5, 4, 1), channels=(3,), dense=(), num_classes=2, activation='tanh'),  # fmt: skip
      (5, 4, 1),
    ),
    (
      dict(
        image=(9, 8, 1),
        channels=(3, 4),
        dense=(5,),
        num_classes=3,
        pool=1,
        window=4,
        stride=2,
        padding=1,
      ),
      (9, 8, 1),
    ),
  ],
  'siren': [(dict(widths=(2, 6, 5, 1)), (2,)), (dict(widths=(3, 4, 2), omega=10.0), (3,))],
  'transformer': [(dict(vocabulary=5, length=4, width=8, depth=2, heads=2), (4,))],
}
ALL = [
  (name, arguments, shape)
  for name in NAMES
  for arguments, shape in CASES.get(name, [({}, (28, 28, 1))])
]


def build(name, arguments):
  return config.build('models', {'name': name, **arguments})


@functools.cache
def programs(name, arguments_text, shape):
  """Compiled init and apply, and apply after a random symmetry."""
  net = build(name, ast.literal_eval(arguments_text))

  @jax.jit
  def moved(seed, params):
    return net.spec.act(net.spec.random(jax.random.key(seed)), params)

  return net, jax.jit(net.apply), moved


def params_and_inputs(net, shape, seed):
  rng = np.random.default_rng(seed)
  # Biases are not zero in a trained network, and zeros hide faults.
  params = {
    leaf.path: rng.normal(0, 0.4, leaf.shape).astype(np.float32) for leaf in net.spec.leaves
  }
  return params, rng.normal(0, 1, (5, *shape)).astype(np.float32)


@pytest.mark.parametrize('name', NAMES)
def test_defaults_build(name):
  net = build(name, {})
  net.spec.check(jax.eval_shape(net.init, jax.random.key(0)))


@pytest.mark.parametrize(('name', 'arguments', 'shape'), ALL)
def test_weights_and_outputs_have_their_shapes(name, arguments, shape):
  net, apply, _ = programs(name, repr(arguments), shape)
  _, inputs = params_and_inputs(net, shape, 0)
  params = jax.jit(net.init)(jax.random.key(0))
  net.spec.check(params)
  outputs = apply(params, inputs)
  # A language model has outputs for every token.
  assert (len(outputs), outputs.shape[-1]) == (5, net.spec.leaves[-1].shape[0])
  one = apply(params, inputs[:1])
  np.testing.assert_allclose(outputs[:1], one, atol=1e-5)
  assert all(np.isfinite(value).all() for value in params.values())


class VariantsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_device=True)
  @parameterized.parameters(*ALL)
  def test_outputs_are_those_of_the_compiled_model(self, name, arguments, shape):
    net, apply, _ = programs(name, repr(arguments), shape)
    params, inputs = params_and_inputs(net, shape, 0)
    chex.assert_trees_all_close(
      self.variant(net.apply)(params, inputs), apply(params, inputs), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(('name', 'arguments', 'shape'), ALL)
def test_hidden_units_have_all_that_their_activation_allows(name, arguments, shape):
  net = build(name, arguments)
  for group in net.spec.groups:
    assert group.kinds == spec_lib.ACTIVATION_KINDS[net.activation]


@pytest.mark.parametrize(('name', 'arguments', 'shape'), ALL)
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=10)
def test_symmetries_keep_the_function(name, arguments, shape, seed):
  net, apply, move = programs(name, repr(arguments), shape)
  params, inputs = params_and_inputs(net, shape, seed)
  moved = move(seed, params)
  changed = any(not np.array_equal(moved[path], params[path]) for path in params)
  assert changed or all(group.size < 4 for group in net.spec.groups)
  np.testing.assert_allclose(apply(moved, inputs), apply(params, inputs), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize('name', marks.slow(NAMES, 'cnn', 'transformer'))
def test_a_spec_with_one_axis_pinned_is_caught(name):
  _, arguments, shape = next(case for case in ALL if case[0] == name)
  net, apply, _ = programs(name, repr(arguments), shape)
  params, inputs = params_and_inputs(net, shape, 0)
  caught = total = 0
  for number, leaf in enumerate(net.spec.leaves):
    for place, axis in enumerate(leaf.axes):
      if axis.group is None:
        continue
      axes = list(leaf.axes)
      axes[place] = spec_lib.PINNED
      leaves = list(net.spec.leaves)
      leaves[number] = dataclasses.replace(leaf, axes=tuple(axes))
      total += 1
      try:
        wrong = dataclasses.replace(net.spec, leaves=tuple(leaves))
      except ValueError:  # Some faults contradict the rest of the spec.
        caught += 1
        continue
      for seed in range(3):
        moved = wrong.act(wrong.random(jax.random.key(seed)), params)
        if not np.allclose(apply(moved, inputs), apply(params, inputs), atol=2e-4):
          caught += 1
          break
  assert caught == total > 0


@pytest.mark.parametrize(('name', 'arguments', 'shape'), ALL)
def test_activations_move_with_their_units(name, arguments, shape):
  net, apply, _ = programs(name, repr(arguments), shape)
  params, inputs = params_and_inputs(net, shape, 0)
  drawn = net.spec.random(jax.random.key(0))
  order = net.spec.identity().replace(perms=drawn.perms)
  forward = jax.jit(net.forward)
  outputs, hidden = forward(params, inputs)
  np.testing.assert_allclose(outputs, apply(params, inputs), atol=1e-5)
  assert set(hidden) == {group.id for group in net.spec.groups}
  _, moved = forward(net.spec.act(order, params), inputs)
  for id, values in hidden.items():
    np.testing.assert_allclose(
      moved[id], values[:, np.asarray(drawn.perms[id])], rtol=1e-4, atol=1e-4
    )
