"""Statistics of graphs are those of NumPy, whatever is padded."""

import jax
import numpy as np
import pytest

from wsjax.encoders import graph_statistics
from wsjax.models import mlp
from wsjax.tokens import graph as graph_lib

SMALL, LARGE = mlp.MLP((3, 5, 2), 'tanh'), mlp.MLP((4, 6, 7, 3), 'tanh')
CAPACITY = graph_lib.wiring(SMALL.spec).capacity | graph_lib.wiring(LARGE.spec).capacity


def graph_of(architecture, seed=0):
  params = jax.jit(architecture.init)(jax.random.key(seed))
  return params, graph_lib.Graph(CAPACITY).tokenize(params, architecture.spec)


def slow(values):
  size = np.sqrt(np.mean(values**2))
  quantiles = np.quantile(values, graph_statistics.QUANTILES)
  return np.array([np.log(size), values.mean() / size, *quantiles / size])


def test_statistics_are_those_of_numpy():
  params, graph = graph_of(SMALL)
  got = np.asarray(graph_statistics.statistics(graph)).reshape(-1, 9)
  assert len(got) == CAPACITY.edge_kinds + CAPACITY.node_kinds
  for place, layer in ((0, 0), (CAPACITY.edge_kinds - 1, 1)):
    wanted = slow(np.asarray(params[f'layer{layer}/kernel']).ravel())
    np.testing.assert_allclose(got[place], wanted, rtol=1e-3, atol=1e-4)
  assert not got[1].any()  # The leaf that only the large one has.
  assert not got[CAPACITY.edge_kinds :].any()  # Biases start at 0.


@pytest.mark.slow
def test_architectures_of_several_sizes_share_one_encoder():
  encoder = graph_statistics.GraphStatistics(SMALL, capacity=CAPACITY)
  graphs = [graph_of(SMALL)[1], graph_of(LARGE)[1]]
  batch = jax.tree.map(lambda *x: np.stack(x), *graphs)
  variables = jax.jit(encoder.init)(jax.random.key(0), graphs[0])
  run = jax.jit(jax.vmap(lambda graph: encoder.apply(variables, graph)))
  both = run(batch)
  assert np.isfinite(both).all() and not np.allclose(both[0], both[1])
  params = graph_of(SMALL)[0]
  np.testing.assert_allclose(encoder.apply(variables, params), both[0], rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_too_large_is_refused():
  encoder = graph_statistics.GraphStatistics(SMALL)
  with pytest.raises(ValueError, match='is padded to'):
    encoder.init(jax.random.key(0), graph_of(LARGE)[1])
