"""Who sends to whom: sums of edges at nodes, in two forms of equal result.

Nodes are [N, d] in both. The dense form has one grid of edges [n_in, n_out, d] per leaf; the sparse
form one list [E, d] of all edges, which may be padded. Both are tuples of arrays, so layers that
treat all edges alike are written once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import flax.struct
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.layers import dense_graph, maxima
from wsjax.layers import graph_features as features_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib


class Dense:
  """The grids of one architecture.

  Attributes:
    graph: its node sets and leaves.
  """

  def __init__(self, graph: dense_graph.Wiring):
    self.graph = graph

  def pairs(self, senders: jax.Array, receivers: jax.Array) -> list[jax.Array]:
    """[N, d] of either end -> their sums on every edge."""
    return [
      senders[self.graph.sets[part.source].nodes][:, None]
      + receivers[self.graph.sets[part.target].nodes][None]
      for part in self.graph.joints
    ]

  def arriving(self, edges: Sequence[jax.Array]) -> jax.Array:
    """[N, d] sums of the edges that end at a node."""
    pieces = [
      (part.target, edge.sum(0)) for part, edge in zip(self.graph.joints, edges, strict=True)
    ]
    return dense_graph.by_set(self.graph, pieces, _width(edges))

  def leaving(self, edges: Sequence[jax.Array]) -> jax.Array:
    """[N, d] sums of the edges that start from a node."""
    pieces = [
      (part.source, edge.sum(1)) for part, edge in zip(self.graph.joints, edges, strict=True)
    ]
    return dense_graph.by_set(self.graph, pieces, _width(edges))

  def degrees(self) -> tuple[jax.Array, jax.Array]:
    """[N, 1] number of edges that end at, and that start from, a node."""
    into = dense_graph.edge_counts(self.graph, leaving=False)
    out = dense_graph.edge_counts(self.graph, leaving=True)
    return jnp.asarray(into)[:, None], jnp.asarray(out)[:, None]

  def pool(self, nodes: jax.Array, num_kinds: int) -> jax.Array:
    """Mean and maximum of every set of nodes, [num_kinds * 2 * d]."""
    own = [nodes[each.nodes] for each in self.graph.sets]
    pooled = [jnp.concatenate([x.mean(0), maxima.over(x, 0)]) for x in own]
    none = [jnp.zeros_like(pooled[0])] * (num_kinds - len(pooled))
    return jnp.concatenate([*pooled[:-1], *none, pooled[-1]])


@flax.struct.dataclass
class Sparse:
  """Lists of edges, padded.

  Attributes:
    senders: [E] int.
    receivers: [E] int.
    edge_mask: [E] bool, True = real.
    node_mask: [N] bool, True = real.
    node_kinds: [N] int.
  """

  senders: jax.Array
  receivers: jax.Array
  edge_mask: jax.Array
  node_mask: jax.Array
  node_kinds: jax.Array

  def pairs(self, senders: jax.Array, receivers: jax.Array) -> list[jax.Array]:
    """[N, d] of either end -> their sums on every edge."""
    return [senders[self.senders] + receivers[self.receivers]]

  def arriving(self, edges: Sequence[jax.Array]) -> jax.Array:
    """[N, d] sums of the edges that end at a node."""
    return self._sums(edges[0], self.receivers)

  def leaving(self, edges: Sequence[jax.Array]) -> jax.Array:
    """[N, d] sums of the edges that start from a node."""
    return self._sums(edges[0], self.senders)

  def degrees(self) -> tuple[jax.Array, jax.Array]:
    """[N, 1] number of edges that end at, and that start from, a node."""
    ones = jnp.ones((len(self.edge_mask), 1))
    return (
      jnp.maximum(self._sums(ones, self.receivers), 1),
      jnp.maximum(self._sums(ones, self.senders), 1),
    )

  def pool(self, nodes: jax.Array, num_kinds: int) -> jax.Array:
    """Mean and maximum of every set of nodes, [num_kinds * 2 * d]."""
    # What is padded goes to a set of its own, which is dropped.
    kinds = jnp.where(self.node_mask, self.node_kinds, num_kinds)
    sums = jax.ops.segment_sum(nodes, kinds, num_kinds + 1)
    ones = jnp.ones((len(nodes), 1))
    counts = jax.ops.segment_sum(ones, kinds, num_kinds + 1)
    most = maxima.of_segments(nodes, kinds, num_kinds + 1)
    most = jnp.where(counts > 0, most, 0)
    both = jnp.concatenate([sums / jnp.maximum(counts, 1), most], -1)
    return both[:num_kinds].reshape(-1)

  def _sums(self, edges: jax.Array, ends: jax.Array) -> jax.Array:
    edges = jnp.where(self.edge_mask[:, None], edges, 0)
    return jax.ops.segment_sum(edges, ends, len(self.node_mask))


Topology: TypeAlias = Dense | Sparse


class Raw(NamedTuple):
  """A network as a graph encoder reads it.

  Attributes:
    topology: who sends to whom.
    nodes: [N, k] features.
    edges: grids [n_in, n_out, k] of every leaf, or one list [E, k].
    node_kinds: [N] int.
    node_places: [N] int.
    edge_kinds: kind of each grid, or [E] kind of each edge.
  """

  topology: Any
  nodes: jax.Array
  edges: list[jax.Array]
  node_kinds: typing.Array
  node_places: typing.Array
  edge_kinds: list[Any]


def read(
  example: typing.Params | graph_lib.WeightGraph, spec: spec_lib.Spec, limit: features_lib.Capacity
) -> Raw:
  """One network, for either form.

  Args:
    example: weights of `spec`: the dense form; a graph: the sparse form. A graph that is not placed
      must be one of `spec`.
    spec: an architecture.
    limit: what a graph may have.

  Raises:
    ValueError: if the example does not fit `spec`, or `limit`.
  """
  if isinstance(example, graph_lib.WeightGraph):
    return _read_sparse(example, spec, limit)
  graph = dense_graph.wiring(spec)
  where = features_lib.places(spec, limit)
  nodes, edges = dense_graph.split(example, spec)
  nodes = [jnp.pad(x, ((0, 0), (0, limit.node_features - x.shape[1]))) for x in nodes]
  return Raw(
    Dense(graph),
    jnp.concatenate(nodes),
    edges,
    where.node_kinds,
    where.node_places,
    features_lib.leaf_kinds(spec, limit),
  )


def _read_sparse(
  graph: graph_lib.WeightGraph, spec: spec_lib.Spec, limit: features_lib.Capacity
) -> Raw:
  """A graph; if it is not placed, one of `spec`, padded or not."""
  if not isinstance(graph, features_lib.PlacedGraph):
    own = features_lib.capacity(spec)
    if len(graph.nodes) < own.nodes or len(graph.edges) < own.edges:
      raise ValueError(
        f'A graph of {len(graph.nodes)} nodes and {len(graph.edges)} edges is '
        f'not one of the architecture, {own}; say where its nodes stand with '
        'graph_features.place.'
      )
    given = dataclasses.replace(
      limit, nodes=max(limit.nodes, len(graph.nodes)), edges=max(limit.edges, len(graph.edges))
    )
    graph = features_lib.place(graph, spec, given)
  for name in ('node', 'edge'):
    given = getattr(graph, f'{name}s').shape[1]
    if given != getattr(limit, f'{name}_features'):
      raise ValueError(
        f'A graph has {given} numbers per {name}; the encoder reads '
        f'{getattr(limit, f"{name}_features")}.'
      )
  return Raw(
    Sparse(graph.senders, graph.receivers, graph.edge_mask, graph.node_mask, graph.node_kinds),
    graph.nodes,
    [graph.edges],
    graph.node_kinds,
    graph.node_places,
    [graph.edge_kinds],
  )


def _width(edges: Sequence[jax.Array]) -> int:
  return edges[0].shape[-1] if edges else 0
