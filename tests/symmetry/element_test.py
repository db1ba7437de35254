import hypothesis
import jax
import numpy as np

from tests import strategies
from wsjax.symmetry import element


def assert_close(one, two, tolerance=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), one, two)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_elements_keep_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  g = element.random(jax.random.key(seed), case.spec)
  moved = element.apply(g, params, case.spec)
  np.testing.assert_allclose(
    case.forward(moved, inputs), case.forward(params, inputs), rtol=1e-4, atol=3e-4
  )


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_composing_is_acting_in_turn(case, seed):
  params, spec = case.params(seed), case.spec
  one, two, three = (element.random(jax.random.key(seed + i), spec) for i in range(3))
  assert_close(
    element.apply(element.compose(two, one, spec), params, spec),
    element.apply(two, element.apply(one, params, spec), spec),
  )
  assert_close(
    element.compose(element.compose(three, two, spec), one, spec),
    element.compose(three, element.compose(two, one, spec), spec),
  )


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_identity_and_inverse(case, seed):
  params, spec = case.params(seed), case.spec
  g = element.random(jax.random.key(seed), spec)
  identity = element.identity(spec)
  assert_close(element.apply(identity, params, spec), params)
  assert_close(element.compose(g, identity, spec), g)
  assert_close(element.compose(identity, g, spec), g)
  back = element.invert(g, spec)
  assert_close(element.compose(back, g, spec), identity)
  assert_close(element.compose(g, back, spec), identity)
  assert_close(element.apply(back, element.apply(g, params, spec), spec), params)


def test_a_sine_unit_turns_after_it_is_negated():
  case = strategies.make_mlp((1, 1, 1), 'sine')
  half_turn = case.spec.groups[0].half_turn
  params = {
    'layer0/kernel': np.array([[2.0]]),
    'layer0/bias': np.array([3.0]),
    'layer1/kernel': np.array([[5.0]]),
    'layer1/bias': np.array([7.0]),
  }
  g = element.GroupElement(
    {'hidden0': np.array([0])}, {'hidden0': np.array([-1.0])}, {'hidden0': np.array([3])}
  )
  moved = element.apply(g, params, case.spec)
  np.testing.assert_allclose(moved['layer0/kernel'], [[-2.0]])
  np.testing.assert_allclose(moved['layer0/bias'], [-3 + 3 * half_turn], 1e-6)
  np.testing.assert_allclose(moved['layer1/kernel'], [[5.0]])


def test_vmap_acts_on_many_nets():
  case = strategies.make_mlp((2, 6, 5, 1), 'sine')
  keys = jax.random.split(jax.random.key(0), 3)
  many = jax.vmap(lambda key: element.random(key, case.spec))(keys)
  zoo = case.params(0, num=3)
  moved = jax.vmap(lambda g, p: element.apply(g, p, case.spec))(many, zoo)
  for i in range(3):
    one = jax.tree.map(lambda x: x[i], many)
    alone = element.apply(one, {path: value[i] for path, value in zoo.items()}, case.spec)
    assert_close({path: value[i] for path, value in moved.items()}, alone)
