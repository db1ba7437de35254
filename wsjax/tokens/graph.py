"""Graphs of networks: neurons are nodes, weights are edges.

Neurons that may be permuted, and the pinned inputs or outputs of a layer, are a set of nodes; a
parameter that joins two sets is a full grid of edges between them. Two neurons that several weights
join (the window of a convolution, the pixels of a channel behind a flatten) have one edge with as
many features. Biases and scales are node features. Only pinned nodes have positions.

Source: Kofinas et al. 2024, arXiv:2403.12143 (networks as neural graphs).
"""

import dataclasses
import functools
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wsjax import config, typing
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Capacity:
  """Sizes that a graph is padded to; `a | b` holds graphs of both.

  Kinds of nodes are their sets, and kinds of edges their parameters; `places` is the size of the
  largest set of pinned nodes.
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


@flax.struct.dataclass
class WeightGraph:
  """One network as a graph; graphs of one `Capacity` stack, whatever their architectures.

  Attributes:
    nodes: biases and scales of every neuron; 0 where it has none.
    edges: weights between two neurons; 0 where there are fewer.
    senders: node that an edge starts from.
    receivers: node that an edge ends at.
    node_mask: True = real, like `edge_mask`.
    node_kinds: number of the node's set. The last set has the last number of the capacity, so that
      outputs of networks of any depth have one kind.
    node_places: position among pinned nodes; -1 for hidden neurons.
    edge_kinds: number of the edge's parameter; the last has the last number.
    capacity: sizes that it is padded to.
  """

  nodes: Float[Array, 'n d']
  edges: Float[Array, 'e k']
  senders: Int[Array, ' e']
  receivers: Int[Array, ' e']
  node_mask: Bool[Array, ' n']
  edge_mask: Bool[Array, ' e']
  node_kinds: Int[Array, ' n']
  node_places: Int[Array, ' n']
  edge_kinds: Int[Array, ' e']
  capacity: Capacity = flax.struct.field(pytree_node=False)


@dataclasses.dataclass(frozen=True)
class NodeSet:
  """A set of nodes, from number `start` on, with so many features each.

  `group` is the id of the group that permutes them, None if they are pinned.
  """

  start: int
  size: int
  group: str | None
  features: int = 0

  @property
  def nodes(self) -> slice:
    """Rows of its nodes."""
    return slice(self.start, self.start + self.size)


@dataclasses.dataclass(frozen=True)
class Block:
  """Place of one parameter in the graph: features of a set of nodes, or a grid of edges.

  Attributes:
    leaf: the parameter.
    axes: its axis that lies along a set of nodes, or its two, source first.
    splits: (outer, size, inner) of these axes.
    source: number of the set that its edges start from; None for node features.
    target: number of the set that they end at, or that has the features.
  """

  leaf: spec_lib.Leaf
  axes: tuple[int, ...]
  splits: tuple[tuple[int, int, int], ...]
  source: int | None
  target: int

  @property
  def features(self) -> int:
    """Weights per edge, or per node."""
    return math.prod(self.leaf.shape) // math.prod(size for _, size, _ in self.splits)

  def grid(self, value: typing.Array) -> Float[Array, '*sets k']:
    """The parameter as [n, k] features of nodes or [n_in, n_out, k] features of edges."""
    shape, order = self._axes
    value = jnp.asarray(value).reshape(shape).transpose(order)
    return value.reshape(*(size for _, size, _ in self.splits), self.features)

  def parameter(self, grid: Float[Array, '*sets k']) -> Float[Array, '*shape']:
    """Inverse of `grid`."""
    shape, order = self._axes
    value = grid.reshape([shape[axis] for axis in order])
    return value.transpose(np.argsort(order)).reshape(self.leaf.shape)

  @property
  def _axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of window and splits, and the order of axes that puts sets first."""
    shape: list[int] = []
    first = {}
    for axis, size in enumerate(self.leaf.shape or (1,)):  # A scalar is a node of its own.
      if axis in self.axes:
        first[axis] = len(shape) + 1
        shape += self.splits[self.axes.index(axis)]
      else:
        shape.append(size)
    sets = [first[axis] for axis in self.axes]
    return tuple(shape), (*sets, *(i for i in range(len(shape)) if i not in sets))


@dataclasses.dataclass(frozen=True)
class Wiring:
  """Node sets and parameters of a graph, in the order of the spec."""

  sets: tuple[NodeSet, ...]
  blocks: tuple[Block, ...]

  @property
  def edge_blocks(self) -> tuple[Block, ...]:
    """Parameters that are edges."""
    return tuple(block for block in self.blocks if block.source is not None)

  @property
  def node_blocks(self) -> tuple[Block, ...]:
    """Parameters that are features of nodes."""
    return tuple(block for block in self.blocks if block.source is None)

  @functools.cached_property
  def capacity(self) -> Capacity:
    """Sizes of the graph without padding."""
    sizes = [each.size for each in self.sets]
    return Capacity(
      nodes=sum(sizes),
      edges=sum(sizes[block.source] * sizes[block.target] for block in self.edge_blocks),
      node_features=max(1, *(each.features for each in self.sets)),
      edge_features=max([1, *(block.features for block in self.edge_blocks)]),
      node_kinds=len(self.sets),
      edge_kinds=max(1, len(self.edge_blocks)),
      places=max([1, *(each.size for each in self.sets if each.group is None)]),
    )

  def node_kinds(self, capacity: Capacity) -> tuple[int, ...]:
    """Kind of every set."""
    return _numbers(len(self.sets), capacity.node_kinds)

  def edge_kinds(self, capacity: Capacity) -> tuple[int, ...]:
    """Kind of every parameter that is edges."""
    return _numbers(len(self.edge_blocks), capacity.edge_kinds)

  def node_tables(self, capacity: Capacity) -> tuple[Int[np.ndarray, ' n'], Int[np.ndarray, ' n']]:
    """`node_kinds` and `node_places` of a graph without padding.

    Raises:
      ValueError: if the graph does not fit into `capacity`.
    """
    if (capacity | self.capacity) != capacity:
      raise ValueError(f'A graph of {self.capacity} does not fit into {capacity}.')
    kinds = np.repeat(self.node_kinds(capacity), [each.size for each in self.sets])
    places = [np.arange(s.size) if s.group is None else np.full(s.size, -1) for s in self.sets]
    return kinds, np.concatenate(places)

  def edge_tables(self) -> Int[np.ndarray, '2 e']:
    """`senders` and `receivers` of a graph without padding."""
    ends = [np.zeros((2, 0), int)]
    for block in self.edge_blocks:
      source, target = self.sets[block.source], self.sets[block.target]
      grid = np.indices((source.size, target.size)).reshape(2, -1)
      ends.append(grid + [[source.start], [target.start]])
    return np.concatenate(ends, 1)

  def split(self, params: typing.Params) -> tuple[list[Float[Array, 'n k']], list[jax.Array]]:
    """Features [n, k] of every set (k may be 0), and [n_in, n_out, k] of every edge block."""
    dtype = jnp.result_type(params[self.blocks[0].leaf.path])
    nodes = [jnp.zeros((each.size, 0), dtype) for each in self.sets]
    for block in self.node_blocks:
      grid = block.grid(params[block.leaf.path])
      nodes[block.target] = jnp.concatenate([nodes[block.target], grid], -1)
    return nodes, [block.grid(params[block.leaf.path]) for block in self.edge_blocks]


@functools.cache
def wiring(spec: spec_lib.Spec) -> Wiring:
  """The graph of an architecture.

  Raises:
    ValueError: for a parameter with groups on more than two axes, since a weight joins at most two
      neurons here.
  """
  sets: dict[str, NodeSet] = {}
  blocks = []
  for leaf in spec.leaves:
    layer = leaf.path.rpartition('/')[0]
    splits, ends = [], []
    axes = _ends(leaf)
    for axis in axes:
      label = leaf.axes[axis] if leaf.shape else spec_lib.PINNED
      name = label.group
      if name is None:
        split = (1, leaf.shape[axis] if leaf.shape else 1, 1)
        name = f'= {"input" if axis != axes[-1] else "output"} of {layer}'
        if not leaf.shape or (name in sets and sets[name].size != split[1]):
          name = f'{name}: {leaf.path}'  # Neurons of its own.
      else:
        split = (label.outer, spec.group(name).size, label.inner)
      start = sum(each.size for each in sets.values())
      sets.setdefault(name, NodeSet(start, split[1], label.group))
      splits.append(split)
      ends.append(list(sets).index(name))
    block = Block(leaf, axes, tuple(splits), ends[0] if len(ends) == 2 else None, ends[-1])
    blocks.append(block)
    if block.source is None:
      here = sets[name]
      sets[name] = dataclasses.replace(here, features=here.features + block.features)
  return Wiring(tuple(sets.values()), tuple(blocks))


def _ends(leaf: spec_lib.Leaf) -> tuple[int, ...]:
  """The axis of a parameter that lies along nodes; of a weight the axes of its source and target.

  They are the last two, or the second and the first in the layout of PyTorch and Equinox, or those
  that have groups, as in attention whose heads are an axis of their own.
  """
  last = len(leaf.shape) - 1
  if last < 1:
    return (0,)
  grouped = tuple(i for i, axis in enumerate(leaf.axes) if axis.group is not None)
  if len(grouped) > 2:
    raise ValueError(
      f'{leaf.path} has the groups {[axis.group for axis in leaf.axes]}; a weight of a graph joins '
      'neurons of two groups.'
    )
  is_turned = leaf.path.rpartition('/')[2] == 'weight'
  for ends in ((1, 0),) if is_turned else ((last - 1, last), (1, 0)):
    if set(grouped) <= set(ends):
      return ends
  if len(grouped) == 2:
    return grouped
  return (grouped[0], last) if grouped[0] != last else (0, last)


@dataclasses.dataclass(frozen=True)
class Graph(config.Section):
  """Tokenizer of graphs.

  Attributes:
    capacity: sizes to pad to, so that graphs of several architectures stack; None does not pad.
  """

  capacity: Capacity | None = None

  def tokenize(self, params: typing.Params, spec: spec_lib.Spec) -> WeightGraph:
    """The graph of one network; vmap for many.

    Raises:
      ValueError: if `params` do not fit `spec` or have several dtypes, or the graph does not fit
        the capacity.
    """
    layout.check(params, spec)
    graph = wiring(spec)
    size = self.capacity or graph.capacity
    node_kinds, node_places = graph.node_tables(size)
    senders, receivers = graph.edge_tables()
    nodes, edges = graph.split(params)
    nodes = jnp.concatenate([_pad(x, len(x), size.node_features) for x in nodes])
    edges = [_pad(x.reshape(-1, x.shape[-1]), None, size.edge_features) for x in edges]
    edge_kinds = [np.full(len(x), k) for x, k in zip(edges, graph.edge_kinds(size), strict=True)]
    empty = jnp.zeros((0, size.edge_features), nodes.dtype)
    return WeightGraph(
      nodes=_pad(nodes, size.nodes, size.node_features),
      edges=_pad(jnp.concatenate(edges or [empty]), size.edges, size.edge_features),
      senders=_pad(senders, size.edges),
      receivers=_pad(receivers, size.edges),
      node_mask=jnp.arange(size.nodes) < graph.capacity.nodes,
      edge_mask=jnp.arange(size.edges) < graph.capacity.edges,
      node_kinds=_pad(node_kinds, size.nodes),
      node_places=_pad(node_places, size.nodes),
      edge_kinds=_pad(np.concatenate(edge_kinds or [np.zeros(0, int)]), size.edges),
      capacity=size,
    )

  def detokenize(self, graph: WeightGraph, spec: spec_lib.Spec) -> typing.Params:
    """Weights of the network that has this graph.

    Raises:
      ValueError: if the graph has no room for one of `spec`.
    """
    own = wiring(spec)
    own.node_tables(graph.capacity)  # Raises where it does not fit.
    params, node_features, start = {}, [0] * len(own.sets), 0
    for block in own.blocks:
      target = own.sets[block.target]
      if block.source is None:
        first = node_features[block.target]
        node_features[block.target] += block.features
        grid = graph.nodes[target.nodes, first : first + block.features]
      else:
        shape = (own.sets[block.source].size, target.size)
        stop = start + math.prod(shape)
        grid = graph.edges[start:stop, : block.features].reshape(*shape, -1)
        start = stop
      params[block.leaf.path] = block.parameter(grid)
    return params


def _numbers(num: int, limit: int) -> tuple[int, ...]:
  """0, 1, 2, ... of which the last is limit - 1."""
  return (*range(num - 1), limit - 1)[:num]


def _pad(value: Any, *shape: int | None) -> jax.Array:
  """Zeros behind an array; None keeps an axis."""
  value = jnp.asarray(value)
  sizes = zip(value.shape, shape, strict=True)
  return jnp.pad(value, [(0, 0 if new is None else new - old) for old, new in sizes])
