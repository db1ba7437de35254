"""Changes of weights: what they are, and that no disguise alters them."""

import jax
import numpy as np
import pytest

from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import baselines
from wsjax.evaluation.metrics import weight_robustness

RNG = np.random.default_rng(0)
NET = {
  'layer0/kernel': RNG.standard_normal((7, 5)).astype(np.float32),
  'layer0/bias': RNG.standard_normal(5).astype(np.float32),
  'conv/kernel': RNG.standard_normal((3, 3, 2, 4)).astype(np.float32),
}


def test_noise_is_a_share_of_every_filter():
  noisy = jax.jit(weight_robustness.filter_noise)(jax.random.key(0), NET, 0.1)
  for path, value in NET.items():
    change = np.asarray(noisy[path]) - value
    for unit in range(value.shape[-1]):
      assert np.linalg.norm(change[..., unit]) == pytest.approx(
        0.1 * np.linalg.norm(value[..., unit]), rel=1e-4
      )


def test_rounding_is_to_even_steps():
  net = {'k': np.array([[0.7, -0.26, 0.04], [0.0, 0.06, -0.7]], np.float32)}
  # Four bits: -7 to 7, steps of 0.1.
  np.testing.assert_allclose(
    weight_robustness.quantise(net, 4)['k'], [[0.7, -0.3, 0.0], [0.0, 0.1, -0.7]], atol=1e-6
  )
  for bits in (2, 4, 8):
    rounded = weight_robustness.quantise(NET, bits)
    for path in ('layer0/kernel', 'conv/kernel'):
      assert len(np.unique(rounded[path])) <= 2**bits - 1
      step = np.abs(NET[path]).max() / (2 ** (bits - 1) - 1)
      assert np.abs(rounded[path] - NET[path]).max() <= step / 2 + 1e-6
    assert rounded['layer0/bias'] is NET['layer0/bias']
  with pytest.raises(ValueError, match='2 bits'):
    weight_robustness.quantise(NET, 1)
  zero = weight_robustness.quantise({'k': np.zeros((2, 2), np.float32)}, 4)
  np.testing.assert_array_equal(zero['k'], 0)


def test_pruning_takes_the_smaller_half_of_every_kernel():
  pruned = weight_robustness.prune(NET, 0.5)
  for path in ('layer0/kernel', 'conv/kernel'):
    value, size = np.asarray(pruned[path]), np.abs(NET[path])
    assert np.mean(value == 0) == pytest.approx(0.5, abs=0.02)
    assert size[value == 0].max() < size[value != 0].min()
    np.testing.assert_array_equal(value[value != 0], NET[path][value != 0])
  assert pruned['layer0/bias'] is NET['layer0/bias']


@pytest.fixture(scope='module')
def nets(zoo_reference):
  return networks.take(zoo_reference.train, np.arange(8))


def _change(context, params, **overrides):
  return weight_robustness.change(
    context.architecture, context.align(params), context.items, context.test_y, **overrides
  )


@pytest.fixture(scope='module')
def changes(zoo_reference, nets):
  return _change(zoo_reference, nets)


def _values(changes):
  sample = given.Given(np.zeros(8), 360, known=[(weight_robustness.changes, changes)])
  stats = given.measured('weight_robustness', sample)
  assert all(stat['n'] == 8 and stat['method'] == 'two-way' for stat in stats.values())
  return {key: stat['value'] for key, stat in stats.items()}


def test_nothing_changes_when_networks_are_moved_by_the_group(zoo_reference, nets, changes):
  moved = baselines.move(nets, zoo_reference.architecture.spec, seed=3)
  ours, theirs = _values(changes), _values(_change(zoo_reference, moved))
  for key, value in ours.items():
    assert theirs[key] == pytest.approx(value, abs=1e-5), key


def test_without_canonical_forms_a_disguise_would_show(zoo_reference, nets, changes):
  moved = baselines.move(nets, zoo_reference.architecture.spec, seed=3)
  raw = weight_robustness.change(
    zoo_reference.architecture, moved, zoo_reference.items, zoo_reference.test_y
  )
  ours, theirs = _values(changes), _values(raw)
  assert theirs['weight_int4_drop'] > ours['weight_int4_drop'] + 1e-3
  assert theirs['weight_noise_nll'] != pytest.approx(ours['weight_noise_nll'], rel=0.05)


def test_small_changes_are_harmless_and_large_ones_are_not(zoo_reference, nets, changes):
  values = _values(changes)
  assert abs(values['weight_int8_drop']) < 0.005
  assert values['weight_prune_drop'] > values['weight_int8_drop']
  assert values['weight_noise_worst_nll'] >= values['weight_noise_nll'] > 0
  louder = _values(_change(zoo_reference, nets, noise=0.5))
  assert louder['weight_noise_nll'] > 5 * values['weight_noise_nll']
  silent = _values(_change(zoo_reference, nets, noise=0.0))
  assert abs(silent['weight_noise_nll']) < 1e-6


def test_sixteen_bits_are_as_good_as_all(zoo_reference, nets):
  one = zoo_reference.align(networks.take(nets, np.array([0])))
  rounded = weight_robustness.quantise({k: v[0] for k, v in one.items()}, 16)
  both = {path: np.stack([one[path][0], np.asarray(rounded[path])]) for path in one}
  before, after = zoo_reference.predict(both).nll
  np.testing.assert_allclose(after, before, atol=2e-3)
  assert np.abs(after - before).max() > 0, 'something was rounded'
