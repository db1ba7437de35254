"""Layers on the graph of a network: messages along weights, and attention.

A layer is equivariant, since all nodes and all edges share its parameters. It runs in two ways of
equal result. `Dense` has one grid of edges [n_in, n_out, k] per parameter, so that messages are
sums along axes. `Sparse` has one padded list of edges [e, k], so that networks of several
architectures share one program. Edges are a list of arrays in both.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.layers import maxima
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib
from wsjax.tokens import positions as positions_lib

_POSITION_FEATURES = 16
_STEEPEST = 8.0  # Bound of attention scores: e^8 sums safely in float32.

Edges: TypeAlias = list[jax.Array]


class Dense:
  """Graph of one network of a known architecture.

  `edges` has the grid of every edge block of `wiring`, and `edge_kinds` the kind of every grid;
  other attributes are those of `tokens.graph.WeightGraph`.
  """

  def __init__(
    self, params: typing.Params, spec: spec_lib.Spec, capacity: graph_lib.Capacity | None = None
  ):
    """Reads the weights; raises ValueError if they do not fit `spec`, or it the capacity."""
    spec.check(params)
    self.wiring = graph_lib.wiring(spec)
    capacity = capacity or self.wiring.capacity
    nodes, self.edges = self.wiring.split(params)
    width = capacity.node_features
    self.nodes = jnp.concatenate([jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in nodes])
    self.node_kinds, self.node_places = self.wiring.node_tables(capacity)
    self.edge_kinds = self.wiring.edge_kinds(capacity)

  def pairs(self, senders: Float[Array, 'n d'], receivers: Float[Array, 'n d']) -> Edges:
    """Sum of sender and receiver of every edge."""
    sets = self.wiring.sets
    return [
      senders[sets[block.source].nodes][:, None] + receivers[sets[block.target].nodes][None]
      for block in self.wiring.edge_blocks
    ]

  def incoming(self, edges: Edges) -> Float[Array, 'n d']:
    """Sum over the edges that end at every node."""
    return self._sums(edges, 'target', 0)

  def outgoing(self, edges: Edges) -> Float[Array, 'n d']:
    """Sum over the edges that start from every node."""
    return self._sums(edges, 'source', 1)

  def pool(self, nodes: Float[Array, 'n d'], num_kinds: int) -> Float[Array, ' pooled']:
    """Mean and maximum of every kind of nodes, side by side: [num_kinds * 2 * d]."""
    own = [nodes[each.nodes] for each in self.wiring.sets]
    pooled = [jnp.concatenate([x.mean(0), maxima.over(x, 0)]) for x in own]
    none = [jnp.zeros_like(pooled[0])] * (num_kinds - len(pooled))
    return jnp.concatenate([*pooled[:-1], *none, pooled[-1]])

  def _sums(self, edges: Edges, end: str, axis: int) -> jax.Array:
    blocks = zip(self.wiring.edge_blocks, edges, strict=True)
    pieces = [(getattr(block, end), edge.sum(axis)) for block, edge in blocks]
    return by_set(self.wiring, pieces, edges[0].shape[-1] if edges else 0)


class Sparse:
  """Graph of one network of any architecture within a capacity; see `Dense`.

  `edges` has one array [e, k] of all edges, and `edge_kinds` one array [e].
  """

  def __init__(self, graph: graph_lib.WeightGraph, capacity: graph_lib.Capacity):
    """Reads the graph; raises ValueError if it is padded to another capacity."""
    if graph.capacity != capacity:
      raise ValueError(f'A graph is padded to {graph.capacity}; this encoder reads {capacity}.')
    self._graph = graph
    self.nodes, self.edges = graph.nodes, [graph.edges]
    self.node_kinds, self.node_places = graph.node_kinds, graph.node_places
    self.edge_kinds = [graph.edge_kinds]

  def pairs(self, senders: Float[Array, 'n d'], receivers: Float[Array, 'n d']) -> Edges:
    """Sum of sender and receiver of every edge."""
    return [senders[self._graph.senders] + receivers[self._graph.receivers]]

  def incoming(self, edges: Edges) -> Float[Array, 'n d']:
    """Sum over the edges that end at every node."""
    return self._sums(edges[0], self._graph.receivers)

  def outgoing(self, edges: Edges) -> Float[Array, 'n d']:
    """Sum over the edges that start from every node."""
    return self._sums(edges[0], self._graph.senders)

  def pool(self, nodes: Float[Array, 'n d'], num_kinds: int) -> Float[Array, ' pooled']:
    """Mean and maximum of every kind of nodes, side by side: [num_kinds * 2 * d]."""
    # Padding is a kind of its own, which is dropped.
    kinds = jnp.where(self._graph.node_mask, self.node_kinds, num_kinds)
    sums = jax.ops.segment_sum(nodes, kinds, num_kinds + 1)
    counts = jax.ops.segment_sum(jnp.ones((len(nodes), 1)), kinds, num_kinds + 1)
    most = jnp.where(counts > 0, maxima.of_segments(nodes, kinds, num_kinds + 1), 0)
    both = jnp.concatenate([sums / jnp.maximum(counts, 1), most], -1)
    return both[:num_kinds].reshape(-1)

  def _sums(self, edges: jax.Array, ends: jax.Array) -> jax.Array:
    edges = jnp.where(self._graph.edge_mask[:, None], edges, 0)
    return jax.ops.segment_sum(edges, ends, len(self._graph.node_mask))


Graph: TypeAlias = Dense | Sparse


def degrees(graph: Graph) -> tuple[Float[Array, 'n 1'], Float[Array, 'n 1']]:
  """Number of incoming and of outgoing edges of every node, at least 1."""
  ones = [jnp.ones((*edge.shape[:-1], 1)) for edge in graph.edges]
  return jnp.maximum(graph.incoming(ones), 1), jnp.maximum(graph.outgoing(ones), 1)


def by_set(
  wiring: graph_lib.Wiring, pieces: Sequence[tuple[int, jax.Array]], width: int
) -> Float[Array, 'n width']:
  """Sums of (number of a set, [n, width]) pieces, set by set; 0 where there is none."""
  rows = []
  for number, each in enumerate(wiring.sets):
    own = [piece for place, piece in pieces if place == number]
    rows.append(sum(own[1:], own[0]) if own else jnp.zeros((each.size, width)))
  return jnp.concatenate(rows)


class ReadNodes(nn.Module):
  """Features, kind and position of every node, as one vector each; see `GraphOptions`."""

  capacity: graph_lib.Capacity
  width: int
  positions: str = 'learned'

  @nn.compact
  def __call__(
    self, nodes: Float[Array, 'n k'], kinds: typing.Array, places: typing.Array
  ) -> Float[Array, 'n width']:
    """Reads nodes of [n] kinds at [n] places, -1 for none."""
    kind = jax.nn.one_hot(kinds, self.capacity.node_kinds)
    parts = [nodes, jnp.ones((len(nodes), 1))]
    if self.positions != 'none':
      shape = (self.capacity.places, _POSITION_FEATURES)
      if self.positions == 'learned':
        codes = self.param('places', nn.initializers.normal(1.0), shape)
      else:
        codes = positions_lib.sinusoidal(np.arange(shape[0]), shape[1])
      code = codes[jnp.maximum(places, 0)]
      parts.append(code * (jnp.asarray(places) >= 0)[:, None])
    # Of all blocks one is not 0, so the variance is that of one block.
    init = nn.initializers.variance_scaling(float(self.capacity.node_kinds), 'fan_in', 'normal')
    return nn.Dense(self.width, use_bias=False, kernel_init=init)(
      _by_kind(jnp.concatenate(parts, -1), kind)
    )


class ReadEdges(nn.Module):
  """Weights of every edge, by one matrix per kind of edge."""

  capacity: graph_lib.Capacity
  width: int

  @nn.compact
  def __call__(self, graph: Graph) -> Edges:
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
  """relu of a linear map of the edge and of both its nodes; see `GraphLayer`.

  The map of the nodes is one product on the nodes, of which there are far fewer than edges.
  """

  capacity: graph_lib.Capacity
  width: int
  first: bool

  @nn.compact
  def __call__(self, graph: Graph, nodes: Float[Array, 'n d'], edges: Edges) -> Edges:
    """Updates the edges, [..., k] -> [..., width]."""
    senders = nn.Dense(self.width, name='sender')(nodes)
    receivers = nn.Dense(self.width, use_bias=False, name='receiver')(nodes)
    if self.first:
      own = ReadEdges(self.capacity, self.width, name='edge')(graph)
    else:
      dense = nn.Dense(self.width, use_bias=False, name='edge')
      own = [dense(edge) for edge in edges]
    return [nn.relu(a + b) for a, b in zip(own, graph.pairs(senders, receivers), strict=True)]


class GraphLayer(nn.Module):
  """Every node reads its incoming and its outgoing edges: their means, or by attention.

  Scores and values of the attention are read from the updated edge, which knows both its nodes and
  its weights. Scores are bounded by a tanh, so that the softmax needs no maximum: it is a quotient
  of two sums.

  Attributes:
    first: whether the edges are weights; other fields are those of `GraphOptions`.

  Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Lim et al. 2024, arXiv:2312.04501
    (messages both ways); Diao & Loynd 2023, arXiv:2210.05062 (edges in attention); Brody et al.
    2022, arXiv:2105.14491 (scores behind the non-linearity).
  """

  capacity: graph_lib.Capacity
  width: int
  edge_width: int
  num_heads: int = 0
  first: bool = False

  @nn.compact
  def __call__(
    self, graph: Graph, nodes: Float[Array, 'n width'], edges: Edges
  ) -> tuple[Float[Array, 'n width'], Edges]:
    """Updates nodes and edges, [..., k] -> [..., edge_width]."""
    h = nn.LayerNorm()(nodes)
    edges = EdgeUpdate(self.capacity, self.edge_width, self.first, name='update')(graph, h, edges)
    if self.num_heads:
      read = [
        self._attend(edges, 'arriving', graph.incoming),
        self._attend(edges, 'leaving', graph.outgoing),
      ]
      nodes += nn.Dense(self.width, name='heads')(jnp.concatenate([h, *read], -1))
      h = nn.Dense(4 * self.width, name='wide')(nn.LayerNorm()(nodes))
    else:
      num_in, num_out = degrees(graph)
      means = graph.incoming(edges) / num_in, graph.outgoing(edges) / num_out
      h = nn.Dense(2 * self.width, name='wide')(jnp.concatenate([h, *means], -1))
    return nodes + nn.Dense(self.width, name='back')(nn.gelu(h)), edges

  def _attend(
    self, edges: Edges, name: str, collect: Callable[[Edges], jax.Array]
  ) -> Float[Array, 'n edge_width']:
    score = nn.Dense(self.num_heads, name=name)
    weights = [jnp.exp(_STEEPEST * jnp.tanh(score(edge) / _STEEPEST)) for edge in edges]
    values = [self._spread(w) * e for w, e in zip(weights, edges, strict=True)]
    total = self._spread(collect(weights))
    # A node without edges has a total of 0, and attends to nothing.
    return collect(values) / jnp.where(total > 0, total, 1)

  def _spread(self, heads: Float[Array, '... num_heads']) -> Float[Array, '... edge_width']:
    """Repeats the number of every head on its channels."""
    return jnp.repeat(heads, self.edge_width // self.num_heads, -1)


class ProbeFeatures(nn.Module):
  """Activations of every neuron on learned inputs, as one vector each.

  They move with the neurons, so a graph encoder that reads them stays equivariant.

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
    activations = [hidden.get(each.group) for each in wiring.sets[:-1]] + [outputs]
    pieces = [
      (number, nn.Dense(self.width, name=f'set{number}')(x.T))
      for number, x in enumerate(activations)
      if x is not None
    ]
    return by_set(wiring, pieces, self.width)


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
  ) -> tuple[Graph, Float[Array, 'n width'], Edges]:
    """One network -> its graph, nodes, and edges [..., edge_width].

    The example is weights of the architecture or a graph of `capacity`; `raw` are the unscaled
    weights, where the example is scaled.

    Raises:
      ValueError: if the example does not fit, or is a graph and there are probes.
    """
    capacity = self.sizes
    is_graph = isinstance(example, graph_lib.WeightGraph)
    if is_graph:
      graph: Graph = Sparse(example, capacity)
    else:
      graph = Dense(example, self.architecture.spec, capacity)
    nodes = ReadNodes(capacity, self.width, self.positions)(
      graph.nodes, graph.node_kinds, graph.node_places
    )
    if self.num_probes:
      if is_graph:
        raise ValueError('Probe features need weights; a graph cannot be run.')
      probed = ProbeFeatures(self.architecture, self.num_probes, self.width, name='probed')
      nodes += probed(example if raw is None else raw)
    edges = graph.edges
    for number in range(self.depth):
      layer = GraphLayer(
        capacity, self.width, self.edge_width, self.num_heads, number == 0, name=f'layer{number}'
      )
      nodes, edges = layer(graph, nodes, edges)
    return graph, nn.LayerNorm(name='norm')(nodes), edges


class ToWeights(nn.Module):
  """One number per weight of an architecture, from features of nodes and edges."""

  spec: spec_lib.Spec

  @nn.compact
  def __call__(self, nodes: Float[Array, 'n d'], edges: Edges) -> typing.Params:
    """Nodes, and grids of edges -> {path: numbers of the shape of the parameter}."""
    wiring = graph_lib.wiring(self.spec)
    grids = dict(zip(wiring.edge_blocks, edges, strict=True))
    numbers = {}
    for block in wiring.blocks:
      value = grids.get(block)
      if value is None:
        value = nodes[wiring.sets[block.target].nodes]
      path = block.leaf.path
      dense = nn.Dense(block.features, name=path.replace('/', '.'))
      numbers[path] = block.parameter(dense(value))
    return numbers
