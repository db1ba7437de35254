import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import group as group_lib


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_elements_keep_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  moved = case.spec.act(case.spec.random(jax.random.key(seed)), params)
  np.testing.assert_allclose(
    case.forward(moved, inputs), case.forward(params, inputs), rtol=1e-4, atol=3e-4
  )


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_permuting_is_the_slow_permuting_and_keeps_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  perms = case.spec.random(jax.random.key(seed)).perms
  moved = group_lib.permute(perms, params, case.spec)
  slow = reference.permute(perms, params, case.spec)
  for path in params:
    np.testing.assert_array_equal(moved[path], slow[path])
  np.testing.assert_allclose(case.forward(moved, inputs), case.forward(params, inputs), atol=1e-4)


@pytest.mark.parametrize('kind', ['positive_scale', 'sign'])
@hypothesis.given(data=hypothesis.strategies.data(), seed=strategies.SEEDS)
def test_scaling_keeps_the_function(kind, data, seed):
  case = data.draw(strategies.cases(kind))
  params, inputs = case.params(seed), case.inputs(seed)
  scales = case.spec.random(jax.random.key(seed)).scales
  right = {'positive_scale': lambda s: s > 0, 'sign': lambda s: abs(s) == 1}[kind]
  assert all(right(np.asarray(s)).all() for s in scales.values())
  scaled = group_lib.scale(scales, params, case.spec)
  before = case.forward(params, inputs)
  np.testing.assert_allclose(case.forward(scaled, inputs), before, rtol=1e-4, atol=1e-4)
  if kind == 'positive_scale':
    assert any(np.abs(scaled[p] - params[p]).max() > 0.01 for p in params)


@hypothesis.given(case=strategies.cases('phase'), seed=strategies.SEEDS)
def test_half_periods_keep_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  turns = group_lib.random(jax.random.key(seed), case.spec, max_turns=3).turns
  turned = group_lib.shift(turns, params, case.spec)
  # omega (b + k pi / omega) loses digits for |k| of several turns.
  np.testing.assert_allclose(case.forward(turned, inputs), case.forward(params, inputs), atol=3e-4)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_the_identity_changes_nothing(case, seed):
  params = case.params(seed)
  moved = case.spec.act(case.spec.identity(), params)
  for path in params:
    np.testing.assert_array_equal(moved[path], params[path])


def test_a_sine_unit_is_shifted_after_it_is_negated():
  case = strategies.make_mlp((1, 1, 1), 'sine')
  half_turn = case.spec.groups[0].half_turn
  params = {
    'layer0/kernel': np.array([[2.0]]),
    'layer0/bias': np.array([3.0]),
    'layer1/kernel': np.array([[5.0]]),
    'layer1/bias': np.array([7.0]),
  }
  g = group_lib.GroupElement(
    {'hidden0': np.array([0])}, {'hidden0': np.array([-1.0])}, {'hidden0': np.array([3])}
  )
  moved = case.spec.act(g, params)
  np.testing.assert_allclose(moved['layer0/kernel'], [[-2.0]])
  np.testing.assert_allclose(moved['layer0/bias'], [-3 + 3 * half_turn], 1e-6)
  np.testing.assert_allclose(moved['layer1/kernel'], [[5.0]])


@pytest.mark.parametrize('case', [strategies.make_mlp((2, 6, 5, 1), 'sine'), strategies.make_cnn()],
                         ids=lambda case: case.name)  # fmt: skip
def test_many_elements_act_on_many_networks(case):
  many = jax.vmap(case.spec.random)(jax.random.split(jax.random.key(0), 3))
  zoo = case.params(0, num=3)
  moved = case.spec.act(many, zoo)
  for i in range(3):
    one = jax.tree.map(lambda x: x[i], many)
    alone = case.spec.act(one, {path: value[i] for path, value in zoo.items()})
    for path in zoo:
      np.testing.assert_allclose(moved[path][i], alone[path], 1e-5, 1e-5)


def test_groups_that_are_absent_stay():
  case = strategies.make_mlp((5, 4, 3, 2))
  params = case.params(0)
  moved = group_lib.permute({'hidden0': np.array([3, 1, 2, 0])}, params, case.spec)
  np.testing.assert_array_equal(moved['layer1/bias'], params['layer1/bias'])
  np.testing.assert_array_equal(moved['layer0/bias'], params['layer0/bias'][[3, 1, 2, 0]])


def test_wrong_kind_group_or_length_raises():
  case = strategies.make_mlp((5, 4, 3, 2), 'gelu')
  params = case.params(0)
  with pytest.raises(ValueError, match="'other'"):
    group_lib.permute({'other': np.arange(4)}, params, case.spec)
  with pytest.raises(ValueError, match='shape'):
    group_lib.permute({'hidden0': np.arange(3)}, params, case.spec)
  with pytest.raises(ValueError, match='allows'):
    group_lib.scale({'hidden0': np.ones(4)}, params, case.spec)
  with pytest.raises(ValueError, match='allows'):
    group_lib.shift({'hidden0': np.ones(4, int)}, params, case.spec)
