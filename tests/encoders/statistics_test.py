"""The baselines: statistics are those of NumPy; a flat MLP sees the order."""

import jax
import numpy as np
import pytest

from tests import strategies
from wsjax.encoders import flat_mlp, statistics

CASE = strategies.make_mlp((5, 4, 3, 2), 'gelu')


def test_statistics_are_those_of_numpy():
  params = CASE.params(0)
  wanted = []
  for leaf in CASE.spec.leaves:
    value = params[leaf.path].ravel()
    wanted += [value.mean(), value.std(), np.sqrt(np.mean(value**2))]
    wanted += list(np.quantile(value, statistics.QUANTILES))
  got = statistics.statistics(params, CASE.spec)
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_statistics_ignore_the_order_and_a_flat_mlp_does_not():
  params = CASE.params(0)
  g = CASE.spec.random(jax.random.key(1))
  moved = CASE.spec.act(g, params)
  for model, ignores in (
    (statistics.Statistics(CASE.model, hidden=(8,), embedding=6), True),
    (flat_mlp.FlatMlp(CASE.model, hidden=(8,), embedding=6), False),
  ):
    variables = jax.jit(model.init)(jax.random.key(0), params)
    one, two = (model.apply(variables, p) for p in (params, moved))
    assert np.allclose(one, two, rtol=1e-4, atol=1e-5) == ignores


@pytest.mark.slow
def test_gradients_of_a_constant_leaf_are_finite():
  zeros = jax.tree.map(np.zeros_like, CASE.params(0))
  gradients = jax.grad(lambda p: statistics.statistics(p, CASE.spec).sum())(zeros)
  assert all(np.isfinite(x).all() for x in gradients.values())


def test_weights_of_another_architecture_are_refused():
  with pytest.raises(ValueError, match='lack'):
    statistics.statistics({}, CASE.spec)
