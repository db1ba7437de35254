"""Graphs of networks: nothing is lost, and kinds and positions tell neurons apart."""

import hypothesis
import numpy as np
import pytest

from tests import strategies
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph


@pytest.mark.slow
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


def test_weights_of_every_layout_are_read_back():
  """Groups first, as in PyTorch; heads on an axis of their own; a scalar; two outputs."""
  a, b = spec_lib.Group('a', 3), spec_lib.Group('b', 2)
  one, two, pinned = spec_lib.Axis('a'), spec_lib.Axis('b'), spec_lib.PINNED
  leaves = (
    spec_lib.Leaf('conv/weight', (3, 5, 2, 2), (one, pinned, pinned, pinned)),
    spec_lib.Leaf('conv/bias', (3,), (one,)),
    spec_lib.Leaf('out/weight', (4, 3), (pinned, one)),
    spec_lib.Leaf('out/bias', (4,), (pinned,)),
    spec_lib.Leaf('query/kernel', (3, 2, 7), (one, two, pinned)),
    spec_lib.Leaf('odd/kernel', (3, 2, 2), (one, pinned, pinned)),
    spec_lib.Leaf('temperature', (), ()),
    spec_lib.Leaf('mean', (3, 2), (one, pinned)),
    spec_lib.Leaf('value', (3, 1), (one, pinned)),
  )
  spec = spec_lib.Spec((a, b), leaves)
  rng = np.random.default_rng(0)
  params = {x.path: rng.normal(size=x.shape).astype('f4') for x in leaves}
  found = graph.Graph().detokenize(graph.Graph().tokenize(params, spec), spec)
  for path, value in params.items():
    np.testing.assert_array_equal(found[path], value)
  blocks = {block.leaf.path: block for block in graph.wiring(spec).blocks}
  # Edges run from inputs to outputs, and a bias is a feature of the neurons that its weights reach.
  assert blocks['out/weight'].source == blocks['conv/weight'].target == blocks['conv/bias'].target
  assert blocks['out/weight'].target == blocks['out/bias'].target
  assert blocks['mean'].target != blocks['value'].target


def test_a_weight_of_three_groups_is_refused():
  groups = tuple(spec_lib.Group(name, 2) for name in 'abc')
  leaf = spec_lib.Leaf('kernel', (2, 2, 2), tuple(map(spec_lib.Axis, 'abc')))
  with pytest.raises(ValueError, match='joins neurons of two groups'):
    graph.wiring(spec_lib.Spec(groups, (leaf,)))


def test_an_architecture_that_does_not_fit_is_refused():
  small = graph.Graph(graph.wiring(strategies.make_mlp((3, 4, 2)).spec).capacity)
  large = strategies.make_mlp()
  with pytest.raises(ValueError, match='does not fit'):
    small.tokenize(large.params(0), large.spec)
