"""Where nodes and edges stand, and what a graph encoder reads of them.

Hidden units are told apart by their set alone, since their order means nothing; inputs and outputs
keep theirs, so each has a position.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.layers import dense_graph
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib
from wsjax.tokens import positions as positions_lib

POSITIONS = ('learned', 'sinusoidal', 'none')


@flax.struct.dataclass
class PlacedGraph(graph_lib.WeightGraph):
  """A graph whose nodes and edges say where they stand.

  Graphs of several architectures, placed with one `Capacity`, stack.

  Attributes:
    node_kinds: [N] int, number of the node's set; the last set has the last number that the
      capacity allows.
    node_places: [N] int, place among pinned nodes; -1 for hidden units.
    edge_kinds: [E] int, number of the edge's leaf, counted alike.
  """

  node_kinds: jax.Array
  node_places: jax.Array
  edge_kinds: jax.Array


@dataclasses.dataclass(frozen=True)
class Capacity:
  """How large a graph may be; two are joined by `|`.

  Attributes:
    nodes: number of nodes.
    edges: number of edges.
    node_features: numbers per node.
    edge_features: numbers per edge.
    node_kinds: sets of nodes.
    edge_kinds: leaves that are edges.
    places: size of the largest set of pinned nodes.
  """

  nodes: int
  edges: int
  node_features: int
  edge_features: int
  node_kinds: int
  edge_kinds: int
  places: int

  def __or__(self, other: 'Capacity') -> 'Capacity':
    return Capacity(*map(max, dataclasses.astuple(self), dataclasses.astuple(other)))


def capacity(spec: spec_lib.Spec) -> Capacity:
  """What the graph of one architecture takes."""
  graph = dense_graph.wiring(spec)
  grids = [(graph.sets[p.source], graph.sets[p.target]) for p in graph.joints]
  pinned = [each.size for each in graph.sets if each.group is None]
  return Capacity(
    nodes=graph.num_nodes,
    edges=sum(source.size * target.size for source, target in grids),
    node_features=max(1, *(each.features for each in graph.sets)),
    edge_features=max([1, *(part.features for part in graph.joints)]),
    node_kinds=len(graph.sets),
    edge_kinds=max(1, len(graph.joints)),
    places=max([1, *pinned]),
  )


@dataclasses.dataclass(frozen=True)
class Places:
  """Tables of `PlacedGraph` for one architecture, not padded."""

  node_kinds: np.ndarray
  node_places: np.ndarray
  edge_kinds: np.ndarray


def places(spec: spec_lib.Spec, limit: Capacity) -> Places:
  """Where the nodes and edges of an architecture stand.

  Raises:
    ValueError: if it does not fit into `limit`.
  """
  if (limit | capacity(spec)) != limit:
    raise ValueError(f'A graph of {capacity(spec)} does not fit into {limit}.')
  graph = dense_graph.wiring(spec)
  kinds = _numbers(len(graph.sets), limit.node_kinds)
  leaves = _numbers(len(graph.joints), limit.edge_kinds)
  return Places(
    np.concatenate([np.full(s.size, k) for s, k in zip(graph.sets, kinds, strict=True)]),
    np.concatenate(
      [np.arange(s.size) if s.group is None else np.full(s.size, -1) for s in graph.sets]
    ),
    np.concatenate(
      [
        np.full(graph.sets[p.source].size * graph.sets[p.target].size, k)
        for p, k in zip(graph.joints, leaves, strict=True)
      ]
      or [np.zeros(0, int)]
    ),
  )


def place(graph: graph_lib.WeightGraph, spec: spec_lib.Spec, limit: Capacity) -> PlacedGraph:
  """Says where the nodes and edges of a graph stand, and pads it.

  Args:
    graph: of one network; it may be padded.
    spec: its architecture.
    limit: what to pad to.

  Returns:
    The graph, of a shape that depends on `limit` alone.

  Raises:
    ValueError: if the graph does not fit into `limit`.
  """
  where = places(spec, limit)
  if len(graph.nodes) > limit.nodes or len(graph.edges) > limit.edges:
    raise ValueError(
      f'A graph of {len(graph.nodes)} nodes and {len(graph.edges)} edges does not fit into {limit}.'
    )

  def pad(value: Any, *shape: int) -> jax.Array:
    value = jnp.asarray(value)
    return jnp.pad(value, [(0, n - old) for n, old in zip(shape, value.shape, strict=True)])

  return PlacedGraph(
    nodes=pad(graph.nodes, limit.nodes, limit.node_features),
    edges=pad(graph.edges, limit.edges, limit.edge_features),
    senders=pad(graph.senders, limit.edges),
    receivers=pad(graph.receivers, limit.edges),
    node_mask=pad(graph.node_mask, limit.nodes),
    edge_mask=pad(graph.edge_mask, limit.edges),
    node_kinds=pad(where.node_kinds, limit.nodes),
    node_places=pad(where.node_places, limit.nodes),
    edge_kinds=pad(where.edge_kinds, limit.edges),
  )


class ReadNodes(nn.Module):
  """Biases, set and position of every node, as one vector each.

  Attributes:
    limit: what the graph may have.
    width: of the vector.
    positions: of pinned nodes: 'learned', 'sinusoidal' or 'none'.
    position_features: length of a position.
  """

  limit: Capacity
  width: int
  positions: str = 'learned'
  position_features: int = 16

  @nn.compact
  def __call__(self, nodes: jax.Array, kinds: typing.Array, where: typing.Array) -> jax.Array:
    """[N, k] features, [N] sets, [N] positions -> [N, width]."""
    if self.positions not in POSITIONS:
      raise ValueError(f'Unknown positions {self.positions!r}; allowed: {POSITIONS}.')
    kind = jax.nn.one_hot(kinds, self.limit.node_kinds)
    parts = [nodes, jnp.ones((len(nodes), 1))]
    if self.positions != 'none':
      code = self._codes()[jnp.maximum(where, 0)]
      parts.append(code * (jnp.asarray(where) >= 0)[:, None])
    # Of all blocks one is not 0, so the variance is that of one block.
    init = nn.initializers.variance_scaling(float(self.limit.node_kinds), 'fan_in', 'normal')
    return nn.Dense(self.width, use_bias=False, kernel_init=init)(
      by_kind(jnp.concatenate(parts, -1), kind)
    )

  def _codes(self) -> jax.Array:
    """[places, position_features]."""
    shape = (self.limit.places, self.position_features)
    if self.positions == 'learned':
      return self.param('places', nn.initializers.normal(1.0), shape)
    return positions_lib.sinusoidal(np.arange(shape[0]), shape[1])


class ReadEdges(nn.Module):
  """Weights of every edge, read by one matrix per leaf.

  Attributes:
    limit: what the graph may have.
    width: of the result.
  """

  limit: Capacity
  width: int

  @nn.compact
  def __call__(
    self, edges: Sequence[jax.Array], kinds: Sequence[typing.Array | int]
  ) -> list[jax.Array]:
    """Grids [n_in, n_out, k], or lists [E, k] of edges -> the same, [width].

    Args:
      edges: features; one grid per leaf, or one list of all edges.
      kinds: the leaf of each grid, or [E] of each edge.
    """
    shape = (self.limit.edge_kinds, self.limit.edge_features, self.width)
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal', batch_axis=(0,))
    kernel = self.param('kernel', init, shape)
    read = []
    for edge, kind in zip(edges, kinds, strict=True):
      if isinstance(kind, int):
        read.append(edge @ kernel[kind, : edge.shape[-1]])
      else:
        one_hot = jax.nn.one_hot(kind, shape[0])
        read.append(by_kind(edge, one_hot) @ kernel.reshape(-1, self.width))
    return read


def by_kind(features: jax.Array, kind: jax.Array) -> jax.Array:
  """[n, k] in the block of its kind, 0 in the others: [n, kinds * k]."""
  blocks = kind[:, :, None] * features[:, None, :]
  return blocks.reshape(len(features), -1)


def _numbers(num: int, limit: int) -> list[int]:
  """0, 1, 2, ... and the last is limit - 1, so that outputs share a kind."""
  return [*range(num - 1), limit - 1][:num] if num else []


def leaf_kinds(spec: spec_lib.Spec, limit: Capacity) -> list[int]:
  """Kind of every joint of an architecture."""
  return _numbers(len(dense_graph.wiring(spec).joints), limit.edge_kinds)
