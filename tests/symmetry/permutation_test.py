import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import permutation


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_permuting_keeps_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  perms = permutation.random(jax.random.key(seed), case.spec)
  moved = permutation.apply(perms, params, case.spec)
  np.testing.assert_allclose(case.forward(moved, inputs), case.forward(params, inputs), atol=1e-4)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_permuting_is_the_slow_permuting(case, seed):
  params = case.params(seed)
  perms = permutation.random(jax.random.key(seed), case.spec)
  moved = permutation.apply(perms, params, case.spec)
  slow = reference.permute(perms, params, case.spec)
  for path in params:
    np.testing.assert_array_equal(moved[path], slow[path])


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
def test_permutations_form_a_group(case, seed):
  params, spec = case.params(seed), case.spec
  one, two, three = (permutation.random(jax.random.key(seed + i), spec) for i in range(3))
  composed = permutation.apply(permutation.compose(two, one), params, spec)
  in_turn = permutation.apply(two, permutation.apply(one, params, spec), spec)
  for path in params:
    np.testing.assert_array_equal(composed[path], in_turn[path])
  jax.tree.map(
    np.testing.assert_array_equal,
    permutation.compose(permutation.compose(three, two), one),
    permutation.compose(three, permutation.compose(two, one)),
  )
  identity = permutation.identity(spec)
  for product in (
    permutation.compose(one, permutation.invert(one)),
    permutation.compose(permutation.invert(one), one),
  ):
    jax.tree.map(np.testing.assert_array_equal, product, identity)


def test_vmap_permutes_each_net_by_its_own():
  case = strategies.make_cnn()
  zoo = case.params(0, num=3)
  keys = jax.random.split(jax.random.key(0), 3)
  perms = jax.vmap(lambda key: permutation.random(key, case.spec))(keys)
  moved = jax.vmap(lambda p, w: permutation.apply(p, w, case.spec))(perms, zoo)
  for i in range(3):
    alone = permutation.apply(
      {id: perm[i] for id, perm in perms.items()},
      {path: value[i] for path, value in zoo.items()},
      case.spec,
    )
    for path in zoo:
      np.testing.assert_array_equal(moved[path][i], alone[path])


def test_groups_that_are_absent_stay():
  case = strategies.make_mlp((5, 4, 3, 2))
  params = case.params(0)
  moved = permutation.apply({'hidden0': np.array([3, 1, 2, 0])}, params,
                            case.spec)  # fmt: skip
  np.testing.assert_array_equal(moved['layer1/bias'], params['layer1/bias'])
  np.testing.assert_array_equal(moved['layer0/bias'], params['layer0/bias'][[3, 1, 2, 0]])


def test_wrong_groups_and_lengths_raise():
  case = strategies.make_mlp((5, 4, 3, 2))
  params = case.params(0)
  with pytest.raises(ValueError, match="'other'"):
    permutation.apply({'other': np.arange(4)}, params, case.spec)
  with pytest.raises(ValueError, match='shape'):
    permutation.apply({'hidden0': np.arange(3)}, params, case.spec)
  with pytest.raises(ValueError, match='same groups'):
    permutation.compose({'hidden0': np.arange(4)}, {'hidden1': np.arange(3)})
