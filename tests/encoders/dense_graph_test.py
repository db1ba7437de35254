"""Grids of edges: nothing is lost, and they are the edges of the tokenizer."""

import hypothesis
import numpy as np
import pytest

from tests import strategies
from wsjax.layers import dense_graph
from wsjax.layers import graph_features as features_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=10)
def test_a_leaf_is_read_back_from_its_grid(case, seed):
  params = case.params(seed)
  for part in dense_graph.wiring(case.spec).parts:
    grid = dense_graph.part_grid(params[part.leaf.path], part)
    back = dense_graph.part_leaf(grid, part)[..., 0]
    np.testing.assert_array_equal(back, params[part.leaf.path])


@pytest.mark.parametrize('case', strategies.CASES, ids=lambda c: c.name)
def test_nodes_and_edges_are_those_of_the_tokenizer(case):
  params = case.params(0)
  graph = graph_lib.make().tokenize(params, case.spec)
  nodes, edges = dense_graph.split(params, case.spec)
  for own, each in zip(nodes, dense_graph.wiring(case.spec).sets, strict=True):
    theirs = graph.nodes[each.nodes, : own.shape[1]]
    np.testing.assert_array_equal(theirs, own)
  start = 0
  for grid in edges:
    own = grid.reshape(-1, grid.shape[-1])
    theirs = graph.edges[start : start + len(own), : own.shape[1]]
    np.testing.assert_array_equal(theirs, own)
    start += len(own)
  assert start == len(graph.edges)


def test_hidden_units_have_no_place_and_inputs_have():
  case = strategies.make_mlp((3, 4, 2))
  where = features_lib.places(case.spec, features_lib.capacity(case.spec))
  np.testing.assert_array_equal(where.node_kinds, [0] * 3 + [1] * 4 + [2] * 2)
  np.testing.assert_array_equal(where.node_places, [0, 1, 2, -1, -1, -1, -1, 0, 1])
  np.testing.assert_array_equal(where.edge_kinds, [0] * 12 + [1] * 8)


def test_outputs_have_the_same_kind_in_networks_of_any_depth():
  shallow, deep = strategies.make_mlp((3, 4, 2)), strategies.make_mlp()
  both = features_lib.capacity(shallow.spec) | features_lib.capacity(deep.spec)
  kinds = [features_lib.places(c.spec, both) for c in (shallow, deep)]
  assert kinds[0].node_kinds[-1] == kinds[1].node_kinds[-1]
  assert kinds[0].edge_kinds[-1] == kinds[1].edge_kinds[-1]


def test_what_a_graph_has_no_place_for_is_refused():
  group = spec_lib.Group('a', 3)
  scalar = spec_lib.Leaf('scale', (), ())
  heads = spec_lib.Leaf('kernel', (3, 2, 2), (spec_lib.Axis('a'), spec_lib.PINNED, spec_lib.PINNED))
  with pytest.raises(ValueError, match='scale is a scalar'):
    dense_graph.wiring(spec_lib.Spec((group,), (scalar,)))
  with pytest.raises(ValueError, match='last two axes'):
    dense_graph.wiring(spec_lib.Spec((group,), (heads,)))


def test_an_architecture_that_does_not_fit_is_refused():
  small = strategies.make_mlp((3, 4, 2)).spec
  with pytest.raises(ValueError, match='does not fit'):
    features_lib.places(strategies.make_mlp().spec, features_lib.capacity(small))
