"""Graphs of networks: nothing is lost, and kinds and positions tell neurons apart."""

import hypothesis
import numpy as np
import pytest

from tests import strategies
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph


@hypothesis.given(case=strategies.cases(), seed=strategies.SEEDS)
@hypothesis.settings(max_examples=10)
def test_a_leaf_is_read_back_from_its_grid(case, seed):
  params = case.params(seed)
  for block in graph.wiring(case.spec).blocks:
    back = block.parameter(block.grid(params[block.leaf.path]))
    np.testing.assert_array_equal(back, params[block.leaf.path])


def test_hidden_units_have_no_place_and_inputs_have():
  case = strategies.make_mlp((3, 4, 2))
  found = graph.Graph().tokenize(case.params(0), case.spec)
  np.testing.assert_array_equal(found.node_kinds, [0] * 3 + [1] * 4 + [2] * 2)
  np.testing.assert_array_equal(found.node_places, [0, 1, 2, -1, -1, -1, -1, 0, 1])
  np.testing.assert_array_equal(found.edge_kinds, [0] * 12 + [1] * 8)


def test_outputs_have_the_same_kind_in_networks_of_any_depth():
  shallow, deep = strategies.make_mlp((3, 4, 2)), strategies.make_mlp()
  wirings = [graph.wiring(case.spec) for case in (shallow, deep)]
  both = wirings[0].capacity | wirings[1].capacity
  for kinds in ('node_kinds', 'edge_kinds'):
    one, two = (getattr(wiring, kinds)(both) for wiring in wirings)
    assert one[-1] == two[-1] and len(one) < len(two)


def test_what_a_graph_has_no_place_for_is_refused():
  group = spec_lib.Group('a', 3)
  scalar = spec_lib.Leaf('scale', (), ())
  heads = spec_lib.Leaf('kernel', (3, 2, 2), (spec_lib.Axis('a'), spec_lib.PINNED, spec_lib.PINNED))
  with pytest.raises(ValueError, match='scale is a scalar'):
    graph.wiring(spec_lib.Spec((group,), (scalar,)))
  with pytest.raises(ValueError, match='last two axes'):
    graph.wiring(spec_lib.Spec((group,), (heads,)))


def test_an_architecture_that_does_not_fit_is_refused():
  small = graph.Graph(graph.wiring(strategies.make_mlp((3, 4, 2)).spec).capacity)
  large = strategies.make_mlp()
  with pytest.raises(ValueError, match='does not fit'):
    small.tokenize(large.params(0), large.spec)
