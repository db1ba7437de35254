"""Gate D: fresh runs pass it, what differs from them in one respect does not."""

import jax
import numpy as np
import pytest

import wsjax
from wsjax.evaluation import methods, reference
from wsjax.evaluation.metrics import fidelity

MODEL = wsjax.mlp((3, 6, 4), 'relu')
X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)


def runs(seed, count, scale=1.0):
  """Networks of one distribution, and scaled ones."""
  params = jax.vmap(MODEL.init)(jax.random.split(jax.random.key(seed), count))
  return {path: np.asarray(value) * scale for path, value in params.items()}


@pytest.fixture(scope='module')
def zoo():
  train = runs(0, 60)
  labels = np.argmax(MODEL.apply({path: value[0] for path, value in train.items()}, X), axis=-1)
  return reference.Reference(
    architecture=MODEL,
    train=train,
    heldout=runs(1, 120),
    reference={path: value[0] for path, value in train.items()},
    test_x=X,
    test_y=np.asarray(labels),
    num_bootstrap=100,
  )


def gate(zoo, params, kind='model'):
  sample = methods.Sample(methods.Method('samples', kind, params), zoo)
  return fidelity.gate_distribution(sample, zoo), sample


def test_further_runs_pass_in_all_parts(zoo):
  stat, sample = gate(zoo, runs(2, 60))
  assert stat['value'] == 1 and stat['note'] == 'passes in all parts'
  assert fidelity.told_by_weights(sample, zoo)['low'] < 0.5
  assert fidelity.told_by_weights(sample, zoo)['p'] > 0.05


def test_held_out_runs_are_not_compared_with_themselves(zoo):
  # The same networks on both sides would be told apart less often than by chance, and cover all.
  fresh = {path: value[:60] for path, value in zoo.heldout.items()}
  stat, sample = gate(zoo, fresh, 'ceiling')
  assert stat['value'] == 1
  mine, theirs = fidelity.sides(sample)
  assert len(mine) == 30 and len(theirs) == 90
  assert not set(mine) & set(theirs)


def test_larger_weights_are_told_by_their_norms(zoo):
  stat, sample = gate(zoo, runs(2, 60, 1.5))
  assert 'weights' in stat['note'] and 'spread' in stat['note'] and stat['value'] < 1
  assert fidelity.told_by_weights(sample, zoo)['p'] < 1e-6


def test_one_function_in_many_weights_is_told_by_its_function(zoo):
  # Units in another order, and noise too small to see: no forest on weights knows, coverage does.
  one = {path: np.repeat(value[:1], 60, axis=0) for path, value in runs(3, 1).items()}
  stat, _ = gate(zoo, one)
  assert 'function' in stat['note'] and 'coverage' in stat['note']


def test_baselines_and_few_networks_are_not_put_to_it(zoo):
  assert 'generators' in gate(zoo, runs(2, 60), 'baseline')[0]['not_run']
  assert '10 networks' in gate(zoo, runs(2, 9))[0]['not_run']


def test_features_do_not_depend_on_the_order_of_units(zoo):
  params = runs(4, 5)
  order = np.random.default_rng(0).permutation(6)
  group = MODEL.spec.groups[0].id
  moved = {
    leaf.path: params[leaf.path]
    if all(axis.group != group for axis in leaf.axes)
    else np.take(params[leaf.path], order, axis=1 + [axis.group for axis in leaf.axes].index(group))
    for leaf in MODEL.spec.leaves
  }
  one, two = (
    fidelity.geometry(methods.Sample(methods.Method('samples', 'model', some), zoo))
    for some in (params, moved)
  )
  np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_forest_is_right_by_chance_on_one_distribution():
  # Measured here, for the p-value takes predictions of five folds as independent.
  rng = np.random.default_rng(0)
  rates = [
    fidelity.told(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)), seed=seed).mean()
    for seed in range(12)
  ]
  assert abs(np.mean(rates) - 0.5) < 4 * 0.5 / np.sqrt(80 * 12)
  assert fidelity.told(rng.normal(size=(40, 8)), rng.normal(2, 1, size=(40, 8))).mean() > 0.95
