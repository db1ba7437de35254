"""Layers on the graph of a network: messages along weights, and attention.

Every layer updates nodes and edges, and is equivariant, since all nodes and all edges share its
parameters. The first layer reads the weights themselves, later ones the edges of the layer before.

A layer on concat([edge, sender, receiver]) is one product on the edges and one on the nodes, of
which there are far fewer; the sum is then formed on the edges by broadcasting.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.layers import graph as execution
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib
from wsjax.tokens import positions as positions_lib

_STEEPEST = 8.0  # Bound of attention scores: e^8 sums safely in float32.


class ReadNodes(nn.Module):
  """Features, kind and position of every node, as one vector each.

  Attributes:
    capacity: sizes of the graph.
    width: of the vector.
    positions: of pinned nodes: 'learned', 'sinusoidal' or 'none'.
    position_features: length of a position.
  """

  capacity: graph_lib.Capacity
  width: int
  positions: str = 'learned'
  position_features: int = 16

  @nn.compact
  def __call__(
    self, nodes: Float[Array, 'n k'], kinds: typing.Array, places: typing.Array
  ) -> Float[Array, 'n width']:
    """Reads nodes of [n] kinds at [n] places, -1 for none."""
    kind = jax.nn.one_hot(kinds, self.capacity.node_kinds)
    parts = [nodes, jnp.ones((len(nodes), 1))]
    if self.positions != 'none':
      code = self._codes()[jnp.maximum(places, 0)]
      parts.append(code * (jnp.asarray(places) >= 0)[:, None])
    # Of all blocks one is not 0, so the variance is that of one block.
    init = nn.initializers.variance_scaling(float(self.capacity.node_kinds), 'fan_in', 'normal')
    return nn.Dense(self.width, use_bias=False, kernel_init=init)(
      _by_kind(jnp.concatenate(parts, -1), kind)
    )

  def _codes(self) -> Float[Array, 'places position_features']:
    shape = (self.capacity.places, self.position_features)
    if self.positions == 'learned':
      return self.param('places', nn.initializers.normal(1.0), shape)
    return positions_lib.sinusoidal(np.arange(shape[0]), shape[1])


class ReadEdges(nn.Module):
  """Weights of every edge, by one matrix per kind of edge.

  Attributes:
    capacity: sizes of the graph.
    width: of the result.
  """

  capacity: graph_lib.Capacity
  width: int

  @nn.compact
  def __call__(self, graph: execution.Graph) -> execution.Edges:
    """Edges [..., width] of a graph."""
    shape = (self.capacity.edge_kinds, self.capacity.edge_features, self.width)
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal', batch_axis=(0,))
    kernel = self.param('kernel', init, shape)
    read = []
    for edge, kind in zip(graph.edges, graph.edge_kinds, strict=True):
      if isinstance(kind, int):  # A grid, all of one kind.
        read.append(edge @ kernel[kind, : edge.shape[-1]])
      else:
        one_hot = jax.nn.one_hot(kind, shape[0])
        read.append(_by_kind(edge, one_hot) @ kernel.reshape(-1, self.width))
    return read


def _by_kind(features: Float[Array, 'n k'], kind: Float[Array, 'n kinds']) -> jax.Array:
  """Features in the block of their kind, 0 in the others: [n, kinds * k]."""
  blocks = kind[:, :, None] * features[:, None, :]
  return blocks.reshape(len(features), -1)


class EdgeUpdate(nn.Module):
  """relu of a linear map of the edge and of both its nodes.

  Attributes:
    capacity: sizes of the graph.
    width: of the edges.
    first: whether the edges are weights, read by one matrix per parameter.
  """

  capacity: graph_lib.Capacity
  width: int
  first: bool

  @nn.compact
  def __call__(
    self, graph: execution.Graph, nodes: Float[Array, 'n d'], edges: execution.Edges
  ) -> execution.Edges:
    """Updates the edges, [..., k] -> [..., width]."""
    senders = nn.Dense(self.width, name='sender')(nodes)
    receivers = nn.Dense(self.width, use_bias=False, name='receiver')(nodes)
    if self.first:
      own = ReadEdges(self.capacity, self.width, name='edge')(graph)
    else:
      dense = nn.Dense(self.width, use_bias=False, name='edge')
      own = [dense(edge) for edge in edges]
    return [nn.relu(a + b) for a, b in zip(own, graph.pairs(senders, receivers), strict=True)]


class MessagePassing(nn.Module):
  """Means of incoming and of outgoing edges, and an MLP on every node.

  Attributes:
    capacity: sizes of the graph.
    width: of the nodes.
    edge_width: of the edges.
    first: whether the edges are weights.

  Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Lim et al. 2024, arXiv:2312.04501
    (messages both ways).
  """

  capacity: graph_lib.Capacity
  width: int
  edge_width: int
  first: bool = False

  @nn.compact
  def __call__(
    self, graph: execution.Graph, nodes: Float[Array, 'n width'], edges: execution.Edges
  ) -> tuple[Float[Array, 'n width'], execution.Edges]:
    """Updates nodes and edges, [..., k] -> [..., edge_width]."""
    h = nn.LayerNorm()(nodes)
    update = EdgeUpdate(self.capacity, self.edge_width, self.first, name='update')
    edges = update(graph, h, edges)
    num_in, num_out = graph.degrees()
    means = graph.incoming(edges) / num_in, graph.outgoing(edges) / num_out
    h = nn.Dense(2 * self.width, name='wide')(jnp.concatenate([h, *means], -1))
    return nodes + nn.Dense(self.width, name='back')(nn.gelu(h)), edges


class RelationalAttention(nn.Module):
  """Attention of every node to its incoming and to its outgoing edges.

  Scores and values are read from the updated edge, which knows both its nodes and its weights.
  Scores are bounded by a tanh, so that the softmax needs no maximum: it is a quotient of two sums.

  Attributes:
    capacity: sizes of the graph.
    width: of the nodes.
    edge_width: of the edges.
    num_heads: of the attention; divides `edge_width`.
    first: whether the edges are weights.

  Source: Diao & Loynd 2023, arXiv:2210.05062 (edges in attention); Kofinas et al. 2024,
    arXiv:2403.12143, section 4 (on networks); Brody et al. 2022, arXiv:2105.14491 (scores behind
    the non-linearity).
  """

  capacity: graph_lib.Capacity
  width: int
  edge_width: int
  num_heads: int
  first: bool = False

  @nn.compact
  def __call__(
    self, graph: execution.Graph, nodes: Float[Array, 'n width'], edges: execution.Edges
  ) -> tuple[Float[Array, 'n width'], execution.Edges]:
    """Updates nodes and edges, [..., k] -> [..., edge_width]."""
    h = nn.LayerNorm()(nodes)
    update = EdgeUpdate(self.capacity, self.edge_width, self.first, name='update')
    edges = update(graph, h, edges)
    heads = [h]
    for name, collect in (('arriving', graph.incoming), ('leaving', graph.outgoing)):
      score = nn.Dense(self.num_heads, name=name)
      weights = [jnp.exp(_STEEPEST * jnp.tanh(score(edge) / _STEEPEST)) for edge in edges]
      values = [self._spread(w) * e for w, e in zip(weights, edges, strict=True)]
      total = self._spread(collect(weights))
      # A node without edges has a total of 0, and attends to nothing.
      heads.append(collect(values) / jnp.where(total > 0, total, 1))
    nodes += nn.Dense(self.width, name='heads')(jnp.concatenate(heads, -1))
    h = nn.Dense(4 * self.width, name='wide')(nn.LayerNorm()(nodes))
    return nodes + nn.Dense(self.width, name='back')(nn.gelu(h)), edges

  def _spread(self, heads: Float[Array, '... num_heads']) -> Float[Array, '... edge_width']:
    """Repeats the number of every head on its channels."""
    return jnp.repeat(heads, self.edge_width // self.num_heads, -1)


class ProbeFeatures(nn.Module):
  """Activations of every neuron on learned inputs, as one vector each.

  They move with the neurons, so a graph encoder that reads them stays equivariant.

  Attributes:
    architecture: its `forward` is run.
    num_probes: number of learned inputs.
    width: of the vectors.

  Source: Kofinas et al. 2024, arXiv:2403.12143, section 3.3.
  """

  architecture: model_lib.Model
  num_probes: int
  width: int

  @nn.compact
  def __call__(self, params: typing.Params) -> Float[Array, 'n width']:
    """Reads the weights of one network, unscaled."""
    shape = (self.num_probes, *self.architecture.input_shape)
    inputs = self.param('questions', nn.initializers.normal(0.5), shape)
    outputs, hidden = self.architecture.forward(params, inputs)
    wiring = graph_lib.wiring(self.architecture.spec)
    pieces = []
    for number, each in enumerate(wiring.sets):
      is_last = number == len(wiring.sets) - 1
      activations = outputs if is_last else hidden.get(each.group)
      if activations is not None:
        read = nn.Dense(self.width, name=f'set{number}')
        pieces.append((number, read(activations.T)))
    return execution.by_set(wiring, pieces, self.width)


class GraphOptions(config.Section, nn.Module):
  """Options of modules that read networks as graphs, and of the layers that they share.

  Attributes:
    architecture: model whose weights are read.
    capacity: sizes of the graphs that are read, of one or several architectures; None for those of
      the architecture alone.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    num_heads: of attention along the weights, divides `edge_width`; 0 for plain means.
    positions: of inputs and outputs: 'learned', 'sinusoidal' or 'none'.
    num_probes: learned inputs on which neurons carry their activations; 0 for none. They need
      weights that can be run, so no graph.
  """

  architecture: model_lib.Model
  capacity: graph_lib.Capacity | None = None
  width: config.PositiveInt = 64
  edge_width: config.PositiveInt = 32
  depth: config.NonNegativeInt = 4
  num_heads: config.NonNegativeInt = 0
  positions: Literal['learned', 'sinusoidal', 'none'] = 'learned'
  num_probes: config.NonNegativeInt = 0

  def __post_init__(self):
    super().__post_init__()
    if self.num_heads and self.edge_width % self.num_heads:
      raise ValueError(
        f'An edge_width of {self.edge_width} does not divide into num_heads={self.num_heads}.'
      )

  @property
  def READS(self) -> str:  # noqa: N802 (a constant of other modules)
    """Probes run the network, so they need the raw weights too."""
    return 'both' if self.num_probes else 'scaled'

  @property
  def sizes(self) -> graph_lib.Capacity:
    """Capacity of the graphs that are read."""
    return self.capacity or graph_lib.wiring(self.architecture.spec).capacity

  def stack(self) -> 'GraphStack':
    """Makes the shared layers, inside a compact method."""
    options = dataclasses.fields(GraphOptions)
    own = {x.name: getattr(self, x.name) for x in options if x.name not in ('name', 'parent')}
    return GraphStack(**own, name='stack')


class GraphStack(GraphOptions):
  """Layers in turn: the equivariant part of graph encoders and editors."""

  @nn.compact
  def __call__(
    self, example: typing.Params | graph_lib.WeightGraph, raw: typing.Params | None = None
  ) -> tuple[execution.Graph, Float[Array, 'n width'], execution.Edges]:
    """One network -> its graph, nodes, and edges [..., edge_width].

    Args:
      example: weights of the architecture, which give one grid of edges per parameter; or a graph
        of `capacity`, which gives one list of edges.
      raw: the unscaled weights, where the example is scaled.

    Raises:
      ValueError: if the example does not fit, or is a graph and there are probes.
    """
    capacity = self.sizes
    graph = execution.read(example, self.architecture.spec, capacity)
    nodes = ReadNodes(capacity, self.width, self.positions)(
      graph.nodes, graph.node_kinds, graph.node_places
    )
    if self.num_probes:
      if isinstance(example, graph_lib.WeightGraph):
        raise ValueError('Probe features need weights; a graph cannot be run.')
      probed = ProbeFeatures(self.architecture, self.num_probes, self.width, name='probed')
      nodes += probed(example if raw is None else raw)
    edges = graph.edges
    for number in range(self.depth):
      options = dict(first=number == 0, name=f'layer{number}')
      if self.num_heads:
        layer = RelationalAttention(
          capacity, self.width, self.edge_width, self.num_heads, **options
        )
      else:
        layer = MessagePassing(capacity, self.width, self.edge_width, **options)
      nodes, edges = layer(graph, nodes, edges)
    return graph, nn.LayerNorm(name='norm')(nodes), edges


class ToWeights(nn.Module):
  """Features of weights from those of nodes and edges.

  Attributes:
    spec: the architecture.
    channels: features per weight.
  """

  spec: spec_lib.Spec
  channels: int = 1

  @nn.compact
  def __call__(
    self, nodes: Float[Array, 'n d'], edges: execution.Edges
  ) -> dict[str, Float[Array, '*shape channels']]:
    """Nodes, and grids of edges -> {path: features of a parameter}."""
    wiring = graph_lib.wiring(self.spec)
    grids = dict(zip(wiring.edge_blocks, edges, strict=True))
    features = {}
    for block in wiring.blocks:
      value = grids.get(block)
      if value is None:
        value = nodes[wiring.sets[block.target].nodes]
      path = block.leaf.path
      dense = nn.Dense(block.features * self.channels, name=path.replace('/', '.'))
      features[path] = block.parameter(dense(value))
    return features
