"""Message passing on the graph of one network, executed in two ways of equal result.

`Dense` has one grid of edges [n_in, n_out, k] per parameter, so that messages are sums along axes
and nothing is gathered. `Sparse` has one padded list of edges [e, k], so that networks of several
architectures share one program. Layers are written once: edges are a list of arrays in both.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import typing
from wsjax.layers import maxima
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

Edges: TypeAlias = list[jax.Array]


class Dense:
  """Graph of one network of a known architecture.

  Attributes:
    wiring: node sets and parameters of the architecture.
    nodes: features of all nodes.
    edges: [n_in, n_out, k] grid of every edge block.
    node_kinds, node_places: of all nodes; see `tokens.graph.WeightGraph`.
    edge_kinds: kind of every grid.
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

  def degrees(self) -> tuple[Float[Array, 'n 1'], Float[Array, 'n 1']]:
    """Number of incoming and of outgoing edges, at least 1."""
    sets, counts = self.wiring.sets, np.zeros((2, len(self.wiring.sets)))
    for block in self.wiring.edge_blocks:
      counts[0, block.target] += sets[block.source].size
      counts[1, block.source] += sets[block.target].size
    counts = np.repeat(np.maximum(counts, 1), [each.size for each in sets], 1)
    return tuple(jnp.asarray(x, jnp.float32)[:, None] for x in counts)

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

  Attributes:
    nodes: features of all nodes.
    edges: one list [e, k] of all edges.
    node_kinds, node_places: of all nodes; see `tokens.graph.WeightGraph`.
    edge_kinds: one array [e], kind of every edge.
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

  def degrees(self) -> tuple[Float[Array, 'n 1'], Float[Array, 'n 1']]:
    """Number of incoming and of outgoing edges, at least 1."""
    ones = [jnp.ones((len(self._graph.edge_mask), 1))]
    return jnp.maximum(self.incoming(ones), 1), jnp.maximum(self.outgoing(ones), 1)

  def pool(self, nodes: Float[Array, 'n d'], num_kinds: int) -> Float[Array, ' pooled']:
    """Mean and maximum of every kind of nodes, side by side: [num_kinds * 2 * d]."""
    # Padding is a kind of its own, which is dropped.
    kinds = jnp.where(self._graph.node_mask, self.node_kinds, num_kinds)
    sums = jax.ops.segment_sum(nodes, kinds, num_kinds + 1)
    ones = jnp.ones((len(nodes), 1))
    counts = jax.ops.segment_sum(ones, kinds, num_kinds + 1)
    most = maxima.of_segments(nodes, kinds, num_kinds + 1)
    most = jnp.where(counts > 0, most, 0)
    both = jnp.concatenate([sums / jnp.maximum(counts, 1), most], -1)
    return both[:num_kinds].reshape(-1)

  def _sums(self, edges: jax.Array, ends: jax.Array) -> jax.Array:
    edges = jnp.where(self._graph.edge_mask[:, None], edges, 0)
    return jax.ops.segment_sum(edges, ends, len(self._graph.node_mask))


Graph: TypeAlias = Dense | Sparse


def read(
  example: typing.Params | graph_lib.WeightGraph, spec: spec_lib.Spec, capacity: graph_lib.Capacity
) -> Graph:
  """One network, weights of `spec` or a graph of that capacity, as layers read it.

  Raises:
    ValueError: if the example does not fit.
  """
  if isinstance(example, graph_lib.WeightGraph):
    return Sparse(example, capacity)
  return Dense(example, spec, capacity)


def by_set(
  wiring: graph_lib.Wiring, pieces: Sequence[tuple[int, jax.Array]], width: int
) -> Float[Array, 'n width']:
  """Sums of (number of a set, [n, width]) pieces, set by set; 0 where there is none."""
  rows = []
  for number, each in enumerate(wiring.sets):
    own = [piece for place, piece in pieces if place == number]
    rows.append(sum(own[1:], own[0]) if own else jnp.zeros((each.size, width)))
  return jnp.concatenate(rows)
