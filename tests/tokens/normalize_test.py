"""Normalizing is inverted exactly enough, and sees the training split only."""

import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from wsjax.tokens import normalize

CASE = strategies.make_mlp()


@hypothesis.settings(max_examples=8)
@hypothesis.given(
  case=strategies.cases(), seed=strategies.SEEDS, how=strategies.st.sampled_from(normalize.HOW)
)
def test_inverting_gives_the_weights_back(case, seed, how):
  zoo = case.params(seed, 6)
  normalizer = normalize.fit(zoo, case.spec, how=how)
  there = jax.vmap(normalizer.apply)(zoo)
  back = jax.vmap(normalizer.invert)(there)
  for path, value in zoo.items():
    np.testing.assert_allclose(back[path], value, atol=1e-6)
    if how == 'none':
      np.testing.assert_array_equal(there[path], value)


@pytest.mark.parametrize(('how', 'axis'), [('layer', None), ('coordinate', 0)])
def test_training_weights_get_mean_0_and_deviation_1(how, axis):
  case = strategies.make_cnn()
  zoo = {k: 3 + 2 * v for k, v in case.params(0, 50).items()}
  there = jax.vmap(normalize.fit(zoo, case.spec, how=how).apply)(zoo)
  for value in there.values():
    np.testing.assert_allclose(np.mean(value, axis), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(value, axis), 1, atol=1e-4)


def test_constant_weights_stay_finite():
  case = strategies.make_mlp()
  zoo = {k: np.ones_like(v) for k, v in case.params(0, 3).items()}
  there = jax.vmap(normalize.fit(zoo, case.spec).apply)(zoo)
  assert all(np.all(value == 0) for value in there.values())


def test_bad_input_is_refused():
  case = strategies.make_mlp()
  zoo = case.params(0, 3)
  with pytest.raises(ValueError, match='allowed'):
    normalize.fit(zoo, case.spec, how='global')
  with pytest.raises(ValueError, match='shape'):
    normalize.fit(case.params(0), case.spec)


def test_statistics_are_of_the_networks_given_and_no_other():
  case = strategies.make_mlp()
  train, other = case.params(0, 8), case.params(1, 8)
  both = {k: np.concatenate([v, 5 + other[k]]) for k, v in train.items()}
  one, two = (normalize.fit(zoo, case.spec) for zoo in (train, both))
  path = 'layer0/kernel'
  assert abs(float(np.mean(one.mean[path]))) < 0.2
  assert float(np.mean(two.mean[path])) > 2


def test_the_weight_of_a_layer_counts_its_squared_deviations_more_often():
  zoo = CASE.params(0, 8)
  plain = normalize.fit(zoo, CASE.spec)
  heavy = normalize.fit(zoo, CASE.spec, weights=(('layer1', 4.0),))
  for path, value in plain.apply(zoo).items():
    ratio = np.mean(np.square(heavy.apply(zoo)[path])) / np.mean(value**2)
    assert ratio == pytest.approx(4 if path.startswith('layer1') else 1)
  back = heavy.invert(heavy.apply(zoo))
  for path, value in zoo.items():
    np.testing.assert_allclose(back[path], value, atol=1e-5)


def test_a_weight_of_no_layer_is_refused():
  with pytest.raises(ValueError, match="'layer9': 2.0; allowed"):
    normalize.fit(CASE.params(0, 3), CASE.spec, weights=(('layer9', 2.0),))
