"""Layers on the graph of a network: messages along weights, and attention.

Every layer updates nodes [N, width] and edges, and is equivariant, since all nodes and all edges
share its parameters. The first layer reads the weights themselves, later ones the edges that the
layer before left.

A layer on concat([edge, sender, receiver]) is one product on the edges and one on the nodes, of
which there are far fewer; the sum is then formed on the edges by broadcasting.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import dense_graph
from wsjax.layers import graph_features as features_lib
from wsjax.layers import topology as topology_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

Edges = list[jax.Array]
_STEEPEST = 8.0  # Bound of attention scores: e^8 sums safely in float32.


class EdgeUpdate(nn.Module):
  """relu of a linear map of the edge and of both its nodes.

  Attributes:
    width: of the edges.
    limit: what a graph may have.
    first: whether the edges are weights, read by one matrix per leaf.
  """

  width: int
  limit: features_lib.Capacity
  first: bool

  @nn.compact
  def __call__(self, raw: topology_lib.Raw, nodes: jax.Array, edges: Sequence[jax.Array]) -> Edges:
    """Nodes [N, d] and edges [..., k] -> edges [..., width]."""
    senders = nn.Dense(self.width, name='sender')(nodes)
    receivers = nn.Dense(self.width, use_bias=False, name='receiver')(nodes)
    if self.first:
      own = features_lib.ReadEdges(self.limit, self.width, name='edge')(edges, raw.edge_kinds)
    else:
      dense = nn.Dense(self.width, use_bias=False, name='edge')
      own = [dense(edge) for edge in edges]
    pairs = raw.topology.pairs(senders, receivers)
    return [nn.relu(a + b) for a, b in zip(own, pairs, strict=True)]


class MessagePassing(nn.Module):
  """Means of the edges at every node, both ways.

  Attributes:
    limit: what a graph may have.
    width: of the nodes.
    edge_width: of the edges.
    first: whether the edges are weights.

  Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Lim et al. 2024, arXiv:2312.04501
    (messages both ways).
  """

  limit: features_lib.Capacity
  width: int
  edge_width: int
  first: bool = False

  @nn.compact
  def __call__(
    self, raw: topology_lib.Raw, nodes: jax.Array, edges: Sequence[jax.Array]
  ) -> tuple[jax.Array, Edges]:
    """Nodes [N, width] and edges [..., k] -> the same, [..., edge_width]."""
    h = nn.LayerNorm()(nodes)
    update = EdgeUpdate(self.edge_width, self.limit, self.first, name='update')
    edges = update(raw, h, edges)
    into, out = raw.topology.degrees()
    inbox = raw.topology.arriving(edges) / into
    outbox = raw.topology.leaving(edges) / out
    h = nn.Dense(2 * self.width, name='wide')(jnp.concatenate([h, inbox, outbox], -1))
    return nodes + nn.Dense(self.width, name='back')(nn.gelu(h)), edges


class RelationalAttention(nn.Module):
  """Every node attends to the edges that end at it, and that start from it.

  Scores and values are read from the updated edge, which knows both its nodes and its weights.
  Scores are bounded by a tanh, so that the softmax needs no maximum: it is a quotient of two sums.

  Attributes:
    limit: what a graph may have.
    width: of the nodes.
    edge_width: of the edges.
    num_heads: of the attention; divides `edge_width`.
    first: whether the edges are weights.

  Source: Diao & Loynd 2023, arXiv:2210.05062 (edges in attention); Kofinas et al. 2024,
    arXiv:2403.12143, section 4 (on networks); Brody et al. 2022, arXiv:2105.14491 (scores behind
    the non-linearity).
  """

  limit: features_lib.Capacity
  width: int
  edge_width: int
  num_heads: int
  first: bool = False

  @nn.compact
  def __call__(
    self, raw: topology_lib.Raw, nodes: jax.Array, edges: Sequence[jax.Array]
  ) -> tuple[jax.Array, Edges]:
    """Nodes [N, width] and edges [..., k] -> the same, [..., edge_width]."""
    h = nn.LayerNorm()(nodes)
    update = EdgeUpdate(self.edge_width, self.limit, self.first, name='update')
    edges = update(raw, h, edges)
    heads = [h]
    for name, collect in (('arriving', raw.topology.arriving), ('leaving', raw.topology.leaving)):
      score = nn.Dense(self.num_heads, name=name)
      weights = [jnp.exp(_STEEPEST * jnp.tanh(score(edge) / _STEEPEST)) for edge in edges]
      values = [self._spread(w) * e for w, e in zip(weights, edges, strict=True)]
      total = self._spread(collect(weights))
      # A node without edges has a total of 0, and attends to nothing.
      heads.append(collect(values) / jnp.where(total > 0, total, 1))
    nodes += nn.Dense(self.width, name='heads')(jnp.concatenate(heads, -1))
    h = nn.Dense(4 * self.width, name='wide')(nn.LayerNorm()(nodes))
    return nodes + nn.Dense(self.width, name='back')(nn.gelu(h)), edges

  def _spread(self, heads: jax.Array) -> jax.Array:
    """[..., num_heads] -> [..., edge_width], every head on its channels."""
    return jnp.repeat(heads, self.edge_width // self.num_heads, -1)


class GraphStack(nn.Module):
  """Layers in turn: the equivariant part of the graph encoders.

  Attributes:
    spec: the architecture that is read.
    limit: what a graph may have; for `spec` alone, `capacity(spec)`.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    num_heads: of the attention; 0 for plain means.
    positions: of pinned nodes: 'learned', 'sinusoidal' or 'none'.
    probed: what nodes carry besides, or None; it needs weights that can be run, so no graph.
  """

  spec: spec_lib.Spec
  limit: features_lib.Capacity
  width: int = 64
  edge_width: int = 32
  depth: int = 4
  num_heads: int = 0
  positions: str = 'learned'
  probed: nn.Module | None = None

  @nn.compact
  def __call__(
    self, example: typing.Params | graph_lib.WeightGraph, function: typing.Params | None = None
  ) -> tuple[topology_lib.Topology, jax.Array, Edges]:
    """One network -> topology, nodes [N, width], edges [..., edge_width].

    Args:
      example: weights of `spec`, which gives one grid of edges per leaf; or a graph, of any
        architecture within `limit` if it is placed, which gives one list of edges.
      function: the weights as they are run, where the example is scaled.

    Raises:
      ValueError: if the example does not fit, or is a graph to be run.
    """
    if self.num_heads and self.edge_width % self.num_heads:
      raise ValueError(
        f'An edge width of {self.edge_width} does not divide into {self.num_heads} heads.'
      )
    raw = topology_lib.read(example, self.spec, self.limit)
    nodes = features_lib.ReadNodes(self.limit, self.width, self.positions)(
      raw.nodes, raw.node_kinds, raw.node_places
    )
    if self.probed is not None:
      if isinstance(example, graph_lib.WeightGraph):
        raise ValueError('Probe features need weights; a graph cannot be run.')
      nodes += self.probed(example if function is None else function)
    edges = raw.edges
    for number in range(self.depth):
      nodes, edges = self._layer(number)(raw, nodes, edges)
    return raw.topology, nn.LayerNorm(name='norm')(nodes), edges

  def _layer(self, number: int) -> nn.Module:
    sizes = (self.limit, self.width, self.edge_width)
    name, first = f'layer{number}', number == 0
    if self.num_heads:
      return RelationalAttention(*sizes, self.num_heads, first, name=name)
    return MessagePassing(*sizes, first, name=name)


class ToWeights(nn.Module):
  """Nodes and edges as features of the weights that they stand for.

  Attributes:
    spec: the architecture.
    channels: c, features per weight.
  """

  spec: spec_lib.Spec
  channels: int = 1

  @nn.compact
  def __call__(self, nodes: jax.Array, edges: Sequence[jax.Array]) -> dict[str, jax.Array]:
    """[N, d] and grids [n_in, n_out, d] -> {path: [*leaf.shape, c]}."""
    graph = dense_graph.wiring(self.spec)
    grids = dict(zip(graph.joints, edges, strict=True))
    features = {}
    for part in graph.parts:
      value = grids.get(part)
      if value is None:
        value = nodes[graph.sets[part.target].nodes]
      name = part.leaf.path.replace('/', '.')
      dense = nn.Dense(part.features * self.channels, name=name)
      features[part.leaf.path] = dense_graph.part_leaf(dense(value), part)
    return features
