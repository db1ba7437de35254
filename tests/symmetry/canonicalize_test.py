import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from tests.reference import symmetry as reference
from wsjax.symmetry import canonicalize
from wsjax.symmetry import group as group_lib

NUM = 3


def orbit(case, seed, max_log_scale):
  """One network moved by NUM random elements, stacked."""
  params = case.params(seed)
  keys = jax.random.split(jax.random.key(seed), NUM)
  g = jax.vmap(lambda key: case.spec.random(key, max_log_scale))(keys)
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
    lambda key: group_lib.scale(case.spec.random(key, 2.0).scales, params, case.spec)
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
    scales = case.spec.random(jax.random.key(seed), 0.1).scales
    other = group_lib.scale(scales, balanced, case.spec)
    assert sum(np.sum(np.square(v)) for v in other.values()) > norm


RELU = strategies.make_mlp((8, 6, 5, 3), 'relu')
RECURRENT = strategies.make_recurrent(5, 'relu')


def _kill(params, what):
  """Makes units dead, or hard to tell apart, in one of several ways."""
  if what == 'out':
    params['layer1/kernel'][2] = 0
  elif what == 'in':
    params['layer0/kernel'][:, 1] = params['layer0/bias'][1] = 0
  elif what == 'both':
    params['layer1/kernel'][2] = params['layer0/kernel'][:, 2] = params['layer0/bias'][2] = 0
  elif what == 'chain':  # Unit 3 reaches only unit 1 of the next layer, which reaches nothing.
    params['layer1/kernel'][3, [0, 2, 3, 4]] = 0
    params['layer2/kernel'][1] = 0
  elif what == 'layer':
    params['layer2/kernel'][:] = 0
  elif what == 'all':
    for value in params.values():
      value[:] = 0
  elif what == 'twins':
    params['layer0/kernel'][:, 1] = params['layer0/kernel'][:, 0]
    params['layer0/bias'][1] = params['layer0/bias'][0]
    params['layer1/kernel'][1] = params['layer1/kernel'][0]
  elif what == 'tiny out':
    params['layer1/kernel'][2] *= 1e-25
  elif what == 'tiny':
    for value in params.values():
      value *= 1e-25
  elif what == 'huge':
    params['layer0/kernel'][:, 1] *= 1e20
    params['layer1/kernel'] *= 1e18
    params['layer2/bias'] *= 1e20
  return params


@pytest.mark.parametrize(
  'what', ['out', 'in', 'both', 'chain', 'layer', 'all', 'twins', 'tiny out', 'tiny', 'huge']
)
def test_a_moved_copy_is_at_distance_zero_whatever_the_weights(what):
  params = _kill(RELU.params(0), what)
  keys = jax.random.split(jax.random.key(1), NUM)
  g = jax.vmap(RELU.spec.random)(keys)
  zoo = {path: np.repeat(value[None], NUM, 0) for path, value in params.items()}
  copies = {path: np.asarray(value) for path, value in RELU.spec.act(g, zoo).items()}
  balanced = RELU.spec.balance(copies)
  norm = np.sqrt(sum(np.sum(np.float64(value[0]) ** 2) for value in balanced.values()))
  reference_net = RELU.params(5)
  found = RELU.spec.distance(copies, zoo, reference=reference_net)
  assert (found <= 1e-5 * norm).all(), found / norm
  canonical = RELU.spec.canonicalize(copies, 'permutation+scale', reference=reference_net)
  assert spread(canonical) <= 1e-4 * max(np.abs(value).max() for value in balanced.values())
  inputs = RELU.inputs(0)
  before = RELU.forward(params, inputs)
  after = RELU.forward({p: v[0] for p, v in balanced.items()}, inputs)
  np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_weights_of_dead_units_go_to_zero():
  params = _kill(_kill(RELU.params(0), 'in'), 'out')
  balanced = RELU.spec.balance({path: value[None] for path, value in params.items()})
  np.testing.assert_array_equal(balanced['layer0/kernel'][0][:, [1, 2]], 0)
  np.testing.assert_array_equal(balanced['layer0/bias'][0][[1, 2]], 0)
  np.testing.assert_array_equal(balanced['layer1/kernel'][0][[1, 2]], 0)
  assert (balanced['layer1/kernel'][0][[0, 3, 4, 5]] != 0).all()


def test_a_loop_that_no_input_reaches_is_dead():
  params = RECURRENT.params(0)
  for unit in (1, 3):  # They feed each other, and the output.
    params['input/kernel'][:, unit] = params['input/bias'][unit] = 0
    params['recurrent/kernel'][[0, 2, 4], unit] = 0
  balanced = RECURRENT.spec.balance({path: value[None] for path, value in params.items()})
  np.testing.assert_array_equal(balanced['output/kernel'][0][[1, 3]], 0)
  np.testing.assert_array_equal(balanced['recurrent/kernel'][0][[1, 3]], 0)
  np.testing.assert_allclose(
    RECURRENT.forward({p: v[0] for p, v in balanced.items()}, RECURRENT.inputs(0)),
    RECURRENT.forward(params, RECURRENT.inputs(0)),
    atol=1e-5,
  )


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_balance_works_in_64_bits(dtype):
  zoo = {path: value.astype(dtype) for path, value in RELU.params(0, NUM).items()}
  expected = RELU.spec.balance(RELU.params(0, NUM))
  with jax.enable_x64(True):
    balanced = RELU.spec.balance(zoo)
    canonical = RELU.spec.canonicalize(
      zoo, 'permutation+scale', reference={path: value[0] for path, value in zoo.items()}
    )
  for path in zoo:
    np.testing.assert_allclose(balanced[path], expected[path], rtol=1e-4, atol=1e-6)
    assert balanced[path].dtype == canonical[path].dtype == dtype


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
