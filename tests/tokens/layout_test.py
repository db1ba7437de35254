"""What particular tokenizers put where."""

import dataclasses

import numpy as np
import pytest

from tests import strategies
from wsjax.tokens import chunks, flat, graph, layout, neurons

CASE = strategies.make_mlp((5, 4, 3, 2))


def test_a_neuron_token_is_its_column_and_bias():
  params = CASE.params(0)
  tokens = neurons.Neurons().tokenize(params, CASE.spec)
  assert tokens.values.shape == (4 + 3 + 2, 5 + 1)
  want = [*params['layer1/kernel'][:, 2], params['layer1/bias'][2], 0]
  np.testing.assert_array_equal(tokens.values[4 + 2], want)
  np.testing.assert_array_equal(tokens.mask[4 + 2], [1, 1, 1, 1, 1, 0])


def test_chunks_do_not_span_leaves():
  table = chunks.Chunks(7).table(CASE.spec)
  leaf = np.repeat(np.arange(6), [20, 4, 12, 3, 6, 2])
  for row in table:
    assert len(set(leaf[row[row >= 0]])) == 1


def test_the_flat_token_has_no_padding():
  tokens = flat.Flat().tokenize(CASE.params(0), CASE.spec)
  assert tokens.values.shape == (1, CASE.spec.num_params)
  assert bool(tokens.mask.all())


def test_an_edge_joins_the_neurons_of_its_weight():
  params = CASE.params(0)
  net = graph.Graph().tokenize(params, CASE.spec)
  assert net.nodes.shape == (5 + 4 + 3 + 2, 1)
  edge = 5 * 4 + 2 * 3 + 1  # layer1, from unit 2 to unit 1.
  assert (int(net.senders[edge]), int(net.receivers[edge])) == (5 + 2, 9 + 1)
  assert float(net.edges[edge, 0]) == params['layer1/kernel'][2, 1]
  np.testing.assert_array_equal(net.nodes[9:12, 0], params['layer1/bias'])


def test_a_convolution_and_a_flatten_make_wide_edges():
  case = strategies.make_cnn((3, 4), 5)
  params = case.params(0)
  net = graph.Graph().tokenize(params, case.spec)
  assert net.nodes.shape[0] == 2 + 3 + 4 + 5 + 2
  assert net.edges.shape == (2 * 3 + 3 * 4 + 4 * 5 + 5 * 2, 16)
  window = params['layer1/kernel'][:, :, 2, 3].ravel()
  np.testing.assert_array_equal(net.edges[6 + 2 * 4 + 3, :9], window)
  # Channel 1 of all 16 pixels, to dense unit 4.
  pixels = params['layer2/kernel'].reshape(16, 4, 5)[:, 1, 4]
  np.testing.assert_array_equal(net.edges[6 + 12 + 1 * 5 + 4], pixels)


def test_a_graph_is_padded_on_request():
  params = CASE.params(0)
  own = graph.wiring(CASE.spec).capacity
  capacity = dataclasses.replace(own, nodes=20, edges=50, node_features=2)
  tokenizer = graph.Graph(capacity)
  net = tokenizer.tokenize(params, CASE.spec)
  assert net.nodes.shape == (20, 2) and net.edges.shape == (50, 1)
  assert int(net.node_mask.sum()) == own.nodes and int(net.edge_mask.sum()) == own.edges
  back = tokenizer.detokenize(net, CASE.spec)
  for path, value in params.items():
    np.testing.assert_array_equal(back[path], value)


def test_a_network_of_one_layer_is_a_graph_too():
  """Its edges are the first weights in their order, but not all of them."""
  case = strategies.make_mlp((5, 2))
  params = case.params(0)
  net = graph.Graph().tokenize(params, case.spec)
  np.testing.assert_array_equal(net.edges[:, 0], np.ravel(params['layer0/kernel']))
  np.testing.assert_array_equal(net.nodes[5:, 0], params['layer0/bias'])
  back = graph.Graph().detokenize(net, case.spec)
  for path, value in params.items():
    np.testing.assert_array_equal(back[path], value)


def test_padding_is_ignored_on_the_way_back():
  tokenizer = neurons.Neurons()
  tokens = tokenizer.tokenize(CASE.params(0), CASE.spec)
  noise = np.where(tokens.mask, tokens.values, np.nan)
  back = tokenizer.detokenize(noise, CASE.spec)
  assert all(np.all(np.isfinite(value)) for value in back.values())


def test_a_table_that_loses_a_weight_is_noticed():
  @dataclasses.dataclass(frozen=True)
  class Lossy(layout.Tokenizer):
    def table(self, spec):
      table = np.arange(spec.num_params)[None]
      table[0, 3] = 2
      return table

  params = CASE.params(0)
  tokens = Lossy().tokenize(params, CASE.spec)
  back = Lossy().detokenize(tokens.values, CASE.spec)
  assert not np.array_equal(back['layer0/kernel'], params['layer0/kernel'])


def test_bad_input_is_refused():
  params = CASE.params(0)
  with pytest.raises(ValueError, match='tokens of shape'):
    flat.Flat().detokenize(np.zeros((2, 3)), CASE.spec)
  with pytest.raises(ValueError, match='length'):
    chunks.Chunks(0)
  with pytest.raises(ValueError, match='dtypes'):
    mixed = {**params, 'layer0/bias': params['layer0/bias'].astype(np.float16)}
    flat.Flat().tokenize(mixed, CASE.spec)
  with pytest.raises(ValueError, match='lack'):
    flat.Flat().tokenize({}, CASE.spec)
