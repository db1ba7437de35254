import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import canonicalize, element, rescaling

NUM = 3


def orbit(case, seed, max_log_scale):
  """One network moved by NUM random elements, stacked."""
  params = case.params(seed)
  keys = jax.random.split(jax.random.key(seed), NUM)
  g = jax.vmap(lambda key: element.random(key, case.spec, max_log_scale))(keys)
  zoo = {p: np.repeat(v[None], NUM, 0) for p, v in params.items()}
  return canonicalize.apply_all(g, zoo, case.spec)


def spread(zoo):
  return max(np.ptp(value, axis=0).max() for value in zoo.values())


@hypothesis.given(case=strategies.cases('positive_scale'), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=5)
def test_balance_ignores_positive_scales(case, seed):
  params = case.params(seed)
  keys = jax.random.split(jax.random.key(seed), NUM)
  scaled = jax.vmap(
    lambda key: rescaling.apply(rescaling.random(key, case.spec, 2.0), params, case.spec)
  )(keys)
  assert spread(scaled) > 0.1
  assert spread(canonicalize.balance_all(scaled, case.spec)) < 1e-4


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=8)
def test_balance_keeps_the_function_and_stays(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  zoo = {path: value[None] for path, value in params.items()}
  once = canonicalize.balance_all(zoo, case.spec)
  np.testing.assert_allclose(
    case.forward({p: v[0] for p, v in once.items()}, inputs),
    case.forward(params, inputs),
    rtol=1e-4,
    atol=3e-4,
  )
  twice = canonicalize.balance_all(once, case.spec)
  for path in zoo:
    np.testing.assert_allclose(once[path], twice[path], atol=1e-5)


def test_balance_is_the_slow_balance_and_the_smallest():
  case = strategies.make_mlp((3, 6, 5, 4, 2), 'leaky_relu')
  params = case.params(0)
  balanced = canonicalize.balance(params, case.spec)
  slow = reference.balance_relu(params)
  for path in params:
    np.testing.assert_allclose(balanced[path], slow[path], atol=1e-5)
  norm = sum(np.sum(np.square(v)) for v in balanced.values())
  for seed in range(5):
    scales = rescaling.random(jax.random.key(seed), case.spec, 0.1)
    other = rescaling.apply(scales, balanced, case.spec)
    assert sum(np.sum(np.square(v)) for v in other.values()) > norm


def test_dead_units_keep_their_scale():
  case = strategies.make_mlp((5, 4, 3, 2), 'relu')
  params = case.params(0)
  params['layer0/kernel'][:, 1] = 0
  params['layer0/bias'][1] = 0  # Nothing feeds unit 1.
  params['layer1/kernel'][2] = 0  # Nothing reads from unit 2.
  balanced = canonicalize.balance(params, case.spec)
  assert all(np.isfinite(value).all() for value in balanced.values())
  np.testing.assert_array_equal(balanced['layer0/kernel'][:, 2], params['layer0/kernel'][:, 2])
  np.testing.assert_array_equal(balanced['layer0/kernel'][:, 1], 0)


@hypothesis.given(case=strategies.cases('phase'), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=5)
def test_phases_end_near_zero(case, seed):
  zoo = canonicalize.balance_all(orbit(case, seed, 0.0), case.spec)
  for group in case.spec.groups:
    bias = zoo[case.spec.bias(group.id).path]
    assert np.abs(bias).max() <= group.half_turn / 2 * (1 + 1e-5)


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=10)
def test_canonical_form_is_that_of_the_orbit(case, seed):
  zoo = orbit(case, seed, 1.0)
  canonical = canonicalize.canonicalize(
    zoo, case.spec, 'permutation+scale', reference=case.params(seed + 1)
  )
  # Half turns: a bias has lost digits to the turns it had been given.
  assert spread(canonical) < 1e-4
  inputs = case.inputs(seed)
  np.testing.assert_allclose(
    case.forward({p: v[0] for p, v in canonical.items()}, inputs),
    case.forward(case.params(seed), inputs),
    rtol=1e-4,
    atol=3e-4,
  )


def test_modes_do_what_they_say():
  case = strategies.make_mlp((5, 4, 3, 2), 'tanh')
  zoo, reference_net = case.params(0, NUM), case.params(1)

  def run(mode):
    return canonicalize.canonicalize(zoo, case.spec, mode, reference=reference_net)

  for path, value in run('none').items():
    np.testing.assert_array_equal(value, zoo[path])
  reordered = run('permutation')
  for path in zoo:  # The same numbers in another order, no signs.
    np.testing.assert_array_equal(
      np.sort(reordered[path].reshape(NUM, -1)), np.sort(zoo[path].reshape(NUM, -1))
    )
  assert any((run('permutation+scale')[p] < 0).sum() != (v < 0).sum()
             for p, v in zoo.items())  # fmt: skip
  with pytest.raises(ValueError, match="'scale'"):
    run('scale')
