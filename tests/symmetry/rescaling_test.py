import hypothesis
import jax
import numpy as np
import pytest

from tests import strategies
from wsjax.symmetry import rescaling


@hypothesis.given(case=strategies.cases('positive_scale'), seed=strategies.SEEDS)
def test_positive_scaling_keeps_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  scales = rescaling.random(jax.random.key(seed), case.spec)
  assert all((np.asarray(s) > 0).all() for s in scales.values())
  scaled = rescaling.apply(scales, params, case.spec)
  before = case.forward(params, inputs)
  np.testing.assert_allclose(case.forward(scaled, inputs), before, rtol=1e-4, atol=1e-4)
  assert any(np.abs(scaled[p] - params[p]).max() > 0.01 for p in params)


@hypothesis.given(case=strategies.cases('sign'), seed=strategies.SEEDS)
def test_negating_keeps_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  scales = rescaling.random(jax.random.key(seed), case.spec)
  assert all((np.abs(s) == 1).all() for s in scales.values())
  scaled = rescaling.apply(scales, params, case.spec)
  np.testing.assert_allclose(case.forward(scaled, inputs), case.forward(params, inputs), atol=1e-4)


@hypothesis.given(case=strategies.cases('phase'), seed=strategies.SEEDS)
def test_half_turns_keep_the_function(case, seed):
  params, inputs = case.params(seed), case.inputs(seed)
  turns = rescaling.random_turns(jax.random.key(seed), case.spec, 3)
  turned = rescaling.apply_turns(turns, params, case.spec)
  # omega (b + k pi / omega) loses digits for |k| of several turns.
  np.testing.assert_allclose(case.forward(turned, inputs), case.forward(params, inputs), atol=3e-4)


def test_wrong_kind_group_or_length_raises():
  case = strategies.make_mlp((5, 4, 3, 2), 'gelu')
  params = case.params(0)
  with pytest.raises(ValueError, match='allows'):
    rescaling.apply({'hidden0': np.ones(4)}, params, case.spec)
  with pytest.raises(ValueError, match='allows'):
    rescaling.apply_turns({'hidden0': np.ones(4, int)}, params, case.spec)
  with pytest.raises(ValueError, match='Unknown group'):
    rescaling.apply({'other': np.ones(4)}, params, case.spec)
  case = strategies.make_mlp((5, 4, 3, 2), 'relu')
  with pytest.raises(ValueError, match='shape'):
    rescaling.apply({'hidden0': np.ones(3)}, params, case.spec)
