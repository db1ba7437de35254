"""No allowed rescaling, negation or order changes the embedding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks, strategies
from wsjax.encoders import scale_equivariant
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib

CASES = {
  'relu': strategies.make_mlp((5, 4, 3, 2), 'relu'),
  'tanh': strategies.make_mlp((5, 4, 3, 2), 'tanh'),
  'siren': strategies.make_mlp((2, 6, 5, 1), 'sine'),
  'gelu': strategies.make_mlp((5, 4, 3, 2), 'gelu'),
  'relu cnn': strategies.make_cnn((2, 3), 4, 'relu'),
  'relu rnn': strategies.make_recurrent(4, 'relu'),
  'tanh rnn': strategies.make_recurrent(4, 'tanh'),
}


@pytest.fixture(
  params=marks.slow(CASES, 'siren', 'tanh', 'gelu', 'relu cnn', 'relu rnn', 'tanh rnn')
)
def case(request):
  return CASES[request.param]


def build(spec, params, **options):
  case = dataclasses.replace(CASES['relu'], spec=spec)
  model = scale_equivariant.ScaleEquivariant(
    case.model, **{'width': 8, 'edge_width': 4, 'depth': 2, 'embedding': 6, **options}
  )
  variables = jax.jit(model.init)(jax.random.key(0), params)
  return variables, jax.jit(model.apply), model


def test_the_embedding_ignores_the_whole_group_of_the_spec(case):
  params = case.params(0)
  variables, run, _ = build(case.spec, params)
  before = run(variables, params)
  for seed in range(3):
    g = case.spec.random(jax.random.key(seed))
    g = g.replace(turns={})  # Half turns are not promised.
    after = run(variables, case.spec.act(g, params))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
  assert not np.allclose(run(variables, case.params(1)), before, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('activation', ['gelu', 'relu', 'tanh'])
def test_what_an_activation_forbids_is_seen(activation):
  """Signs are seen in relu nets, scales in tanh nets, both in gelu nets."""
  case = CASES[activation]
  params = case.params(0)
  variables, run, _ = build(case.spec, params)
  free = tuple(
    spec_lib.Group(group.id, group.size, ('permutation', 'positive_scale'))
    for group in case.spec.groups
  )
  spec = spec_lib.Spec(free, case.spec.leaves)
  scales = {'relu': -1.0, 'tanh': 2.0, 'gelu': 2.0}[activation]
  moved = group_lib.scale({'hidden0': jnp.full(4, scales).at[0].set(1)}, params, spec)
  before, after = run(variables, params), run(variables, moved)
  assert not np.allclose(after, before, atol=1e-3)


@pytest.mark.slow
def test_a_weight_that_feeds_on_its_other_axis_is_read_the_other_way_round():
  """A kernel stored [out, in] has its powers on the other axes."""
  case = CASES['relu']
  leaves = tuple(
    spec_lib.Leaf(leaf.path, leaf.shape[::-1], leaf.axes[::-1]) for leaf in case.spec.leaves
  )
  spec = spec_lib.Spec(case.spec.groups, leaves)
  params = {path: value.T for path, value in case.params(0).items()}
  variables, run, _ = build(spec, params)
  g = spec.random(jax.random.key(1))
  np.testing.assert_allclose(
    run(variables, spec.act(g, params)), run(variables, params), rtol=1e-4, atol=1e-4
  )


@pytest.mark.slow
def test_gradients_are_finite_also_where_vectors_are_zero():
  case = CASES['relu']
  for edge_width in (0, 4):
    variables, _, model = build(case.spec, case.params(0), edge_width=edge_width)
    loss = jax.jit(jax.grad(lambda *x, m=model: jnp.sum(m.apply(*x) ** 2), (0, 1)))
    zeros = jax.tree.map(np.zeros_like, case.params(0))
    for params in (case.params(0), zeros):
      gradients = loss(variables, params)
      assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
