"""Graph encoders: both forms agree, and only the order of units is ignored."""

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks, strategies
from wsjax import testing
from wsjax.editors import graph_net as editor_lib
from wsjax.encoders import graph_net, graph_transformer
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib


def normed_case():
  """An MLP with a scale per hidden unit, a leaf of rank 1 beside its bias."""
  case = strategies.make_mlp((5, 4, 2))
  scale = spec_lib.Leaf('norm/scale', (4,), (spec_lib.Axis('hidden0'),))
  leaves = (*case.spec.leaves[:2], scale, *case.spec.leaves[2:])
  return strategies.Case(
    'normed',
    spec_lib.Spec(case.spec.groups, leaves),
    case.forward,
    case.input_shape,
    case.activation,
  )


CASES = {
  'mlp': strategies.make_mlp((5, 4, 3, 2)),
  'cnn': strategies.make_cnn((2, 3), 4, 'tanh'),
  'siren': strategies.make_mlp((2, 6, 5, 1), 'sine'),
  'rnn': strategies.make_recurrent(4),
  'normed': normed_case(),
}


HEADS = {'messages': 0, 'attention': 2}


# The contracts of encoders and editors try attention.
@pytest.fixture(params=marks.slow(HEADS, 'attention'))
def heads(request):
  return HEADS[request.param]


# Each kind of layers with a case of its own.
@pytest.fixture(
  params=marks.slow(
    [f'{case} {kind}' for case in CASES for kind in HEADS],
    *(
      'cnn messages',
      'cnn attention',
      'siren messages',
      'siren attention',
      'rnn messages',
      'normed attention',
      'mlp attention',
    ),
  )
)
def case_and_heads(request):
  case, kind = request.param.split()
  return CASES[case], HEADS[kind]


def tokenized(case, seed, capacity=None):
  tokenize = jax.jit(lambda params: graph_lib.Graph(capacity).tokenize(params, case.spec))
  return tokenize(case.params(seed))


def capacity_of(case):
  return graph_lib.wiring(case.spec).capacity


@functools.cache
def make(case, heads, kind=graph_net.GraphNet, **options):
  sizes = dict(width=8, edge_width=4, depth=2, num_heads=heads)
  return kind(architecture=case.model, **sizes, **options)


@functools.cache
def encoder(case, heads, capacity=None):
  """(encoder, variables, compiled apply) of a small encoder."""
  model = make(case, heads, capacity=capacity, embedding=6)
  zeros = {leaf.path: np.zeros(leaf.shape, np.float32) for leaf in case.spec.leaves}
  variables = jax.jit(model.init)(jax.random.key(0), zeros)
  return model, variables, jax.jit(model.apply)


def test_the_embedding_ignores_the_order_of_units(case_and_heads):
  case, heads = case_and_heads
  _, variables, run = encoder(case, heads)
  spec = case.spec.permutations_only()
  before = run(variables, case.params(0))
  for seed in range(3):
    g = spec.random(jax.random.key(seed))
    after = run(variables, spec.act(g, case.params(0)))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
  assert not np.allclose(run(variables, case.params(1)), before, atol=1e-3)


@pytest.mark.parametrize('name', marks.slow(('mlp', 'cnn', 'rnn'), 'cnn', 'rnn'))
def test_the_editor_is_equivariant(name, heads):
  spec = CASES[name].spec
  editor = make(CASES[name], heads, editor_lib.GraphNet)
  params = CASES[name].params(0)
  variables = jax.jit(editor.init)(jax.random.key(0), params)
  testing.assert_law(
    jax.jit(lambda params: editor.apply(variables, params)),
    jax.tree.map(jnp.asarray, params),
    spec,
    lambda g, value: spec.act(g, value),
    kinds=('permutation',),
    key=jax.random.key(1),
    tolerance=1e-4,
  )


def test_a_planted_reader_of_the_order_is_caught():
  spec = CASES['mlp'].spec

  class Reader(graph_net.GraphNet):
    def features(self, params, *, train=False):
      return params['layer0/bias']

  with pytest.raises(AssertionError, match='invariant to permutation'):
    testing.assert_invariant(make(CASES['mlp'], 0, Reader), spec, CASES['mlp'].params(0))


def test_dense_and_sparse_give_the_same_numbers(case_and_heads):
  case, heads = case_and_heads
  own = capacity_of(case)
  larger = dataclasses.replace(own, nodes=own.nodes + 3, edges=own.edges + 7)
  for capacity in (own, larger):
    _, variables, run = encoder(case, heads, capacity)
    graph = tokenized(case, 3, capacity)
    wanted = run(variables, case.params(3))
    np.testing.assert_allclose(run(variables, graph), wanted, rtol=1e-4, atol=1e-5)


def test_what_is_in_the_padding_does_not_matter(heads):
  case = CASES['mlp']
  own = capacity_of(case)
  capacity = dataclasses.replace(own, nodes=own.nodes + 3, edges=own.edges + 7)
  _, variables, run = encoder(case, heads, capacity)
  graph = tokenized(case, 0, capacity)
  dirty = graph.replace(
    nodes=jnp.where(graph.node_mask[:, None], graph.nodes, 9.0),
    edges=jnp.where(graph.edge_mask[:, None], graph.edges, 9.0),
  )
  np.testing.assert_allclose(run(variables, dirty), run(variables, graph))


@pytest.mark.slow
def test_architectures_of_several_sizes_share_one_encoder(heads):
  cases = [CASES['mlp'], CASES['cnn'], strategies.make_mlp((5, 4, 2))]
  capacity = functools.reduce(operator.or_, map(capacity_of, cases))
  model, variables, _ = encoder(cases[0], heads, capacity)
  graphs, wanted = [], []
  for case in cases:
    graphs.append(tokenized(case, 2, capacity))
    wanted.append(encoder(case, heads, capacity)[2](variables, case.params(2)))
  batch = jax.tree.map(lambda *x: jnp.stack(x), *graphs)
  got = jax.jit(jax.vmap(lambda graph: model.apply(variables, graph)))(batch)
  np.testing.assert_allclose(got, jnp.stack(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_inputs_are_told_apart_by_position_alone():
  case = CASES['siren']
  params = case.params(0)
  swapped = {**params, 'layer0/kernel': params['layer0/kernel'][::-1]}
  for positions in ('learned', 'sinusoidal', 'none'):
    model = make(case, 0, positions=positions)
    variables = jax.jit(model.init)(jax.random.key(0), params)
    run = jax.jit(model.apply)
    same = np.allclose(run(variables, params), run(variables, swapped), atol=1e-5)
    assert same == (positions == 'none')


@pytest.mark.slow
def test_gradients_are_finite_also_for_weights_of_zero(heads):
  case = CASES['siren']
  model, variables, _ = encoder(case, heads)
  loss = jax.jit(jax.grad(lambda *x: jnp.sum(model.apply(*x) ** 2), (0, 1)))
  for params in (case.params(0), jax.tree.map(jnp.zeros_like, case.params(0))):
    gradients = loss(variables, params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_bad_input_is_refused():
  case = CASES['mlp']
  _, variables, _ = encoder(case, 0)
  model = encoder(case, 0)[0]
  with pytest.raises(ValueError, match='lack'):
    model.apply(variables, {})
  other = tokenized(CASES['cnn'], 0)
  with pytest.raises(ValueError, match='is padded to'):
    model.apply(variables, other)
  with pytest.raises(ValueError, match='positions'):
    make(case, 0, positions='rank')
  with pytest.raises(ValueError, match='num_heads'):
    make(case, 3)
  with pytest.raises(ValueError, match='num_heads'):
    make(case, 0, graph_transformer.GraphTransformer)
