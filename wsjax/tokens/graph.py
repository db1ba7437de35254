"""WeightGraph: neurons are nodes, weights are edges.

A pair of units that is joined by several weights, the window of a convolution or the pixels that a
flatten leaves side by side, has one edge with as many features. Biases are node features.

Source: Kofinas et al. 2024, arXiv:2403.12143 (networks as neural graphs).
"""

import dataclasses
import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@flax.struct.dataclass
class WeightGraph:
  """One network as a graph.

  Attributes:
    nodes: [N, D] biases (and scales) of a neuron; 0 where it has none.
    edges: [E, D] weights between two neurons; 0 where there are fewer.
    senders: [E] int, node each edge starts from.
    receivers: [E] int, node each edge ends at.
    node_mask: [N] bool, True = real.
    edge_mask: [E] bool, True = real.
  """

  nodes: jax.Array
  edges: jax.Array
  senders: jax.Array
  receivers: jax.Array
  node_mask: jax.Array
  edge_mask: jax.Array


@dataclasses.dataclass(frozen=True)
class _Wiring:
  """Index tables of a graph; -1 = no weight."""

  nodes: np.ndarray
  edges: np.ndarray
  senders: np.ndarray
  receivers: np.ndarray


@dataclasses.dataclass(frozen=True)
class Graph:
  """Graph tokenizer; 0 for a size that is not padded."""

  num_nodes: int = 0
  num_edges: int = 0

  def tokenize(self, params: typing.Params, spec: spec_lib.Spec) -> WeightGraph:
    """The graph of one network; vmap for many.

    Args:
      params: path -> array, of one dtype.
      spec: its architecture.

    Raises:
      ValueError: if `params` do not fit `spec`, or the graph is larger than the size it is to be
        padded to.
    """
    wiring = _wiring(spec)
    vector = layout.flatten(params, spec)
    nodes = layout.gather(vector, wiring.nodes)
    edges = layout.gather(vector, wiring.edges)
    more_nodes = self._padding('nodes', len(nodes), self.num_nodes)
    more_edges = self._padding('edges', len(edges), self.num_edges)
    return WeightGraph(
      nodes=jnp.pad(nodes, ((0, more_nodes), (0, 0))),
      edges=jnp.pad(edges, ((0, more_edges), (0, 0))),
      senders=jnp.asarray(np.pad(wiring.senders, (0, more_edges))),
      receivers=jnp.asarray(np.pad(wiring.receivers, (0, more_edges))),
      node_mask=jnp.arange(len(nodes) + more_nodes) < len(nodes),
      edge_mask=jnp.arange(len(edges) + more_edges) < len(edges),
    )

  def detokenize(self, graph: WeightGraph, spec: spec_lib.Spec) -> typing.Params:
    """Weights of the network that has this graph.

    Raises:
      ValueError: if the graph is not one of `spec`.
    """
    wiring = _wiring(spec)
    pieces = []
    for what in ('nodes', 'edges'):
      values, table = getattr(graph, what), getattr(wiring, what)
      if len(values) < len(table) or values.shape[1:] != table.shape[1:]:
        raise ValueError(
          f'Graph has {what} of shape {tuple(values.shape)}; this architecture has {table.shape}.'
        )
      pieces.append((values[: len(table)], table))
    return layout.unflatten(layout.scatter(pieces, spec), spec)

  def _padding(self, what: str, size: int, wanted: int) -> int:
    if wanted and size > wanted:
      raise ValueError(f'The graph has {size} {what}, more than num_{what}={wanted}.')
    return max(wanted - size, 0)


def make(num_nodes: int = 0, num_edges: int = 0) -> Graph:
  """The graph tokenizer.

  Args:
    num_nodes: nodes to pad to, so that graphs of several architectures stack; 0 does not pad.
    num_edges: edges to pad to; 0 does not pad.
  """
  return Graph(num_nodes, num_edges)


@functools.cache
def _wiring(spec: spec_lib.Spec) -> _Wiring:
  """Tables of the graph of an architecture.

  Raises:
    ValueError: for a leaf of rank 0, which belongs to no neuron.
  """
  indices = layout.leaf_indices(spec)
  sizes: dict[str, int] = {}  # Set of nodes -> how many; in order of use.
  features: dict[str, list[np.ndarray]] = {}  # Set of nodes -> [n, k] tables.
  joints = []  # (senders, receivers, [n_in, n_out, k] table).
  for leaf in spec.leaves:
    if not leaf.shape:
      raise ValueError(f'{leaf.path} is a scalar; a graph has no place for it.')
    layer = leaf.path.rpartition('/')[0]
    table = indices[leaf.path]
    out, out_split = _units(leaf, -1, spec, f'output of {layer}')
    if table.ndim == 1:
      sizes.setdefault(out, out_split[1])
      table = table.reshape(out_split).transpose(1, 0, 2)
      features.setdefault(out, []).append(table.reshape(len(table), -1))
      continue
    source, in_split = _units(leaf, -2, spec, f'input of {layer}')
    sizes.setdefault(source, in_split[1])
    sizes.setdefault(out, out_split[1])
    table = table.reshape(math.prod(leaf.shape[:-2]), *in_split, *out_split)
    # (window, outer, in, inner, outer, out, inner): the two sets in front.
    table = table.transpose(2, 5, 0, 1, 3, 4, 6)
    joints.append((source, out, table.reshape(*table.shape[:2], -1)))
  starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))
  none = np.zeros((0,), int)
  nodes = []
  for name, size in sizes.items():
    own = features.get(name, [np.zeros((size, 0), int)])
    nodes += list(np.concatenate(own, axis=1))
  edges, senders, receivers = [], [none], [none]
  for source, out, table in joints:
    grid = np.indices(table.shape[:2]).reshape(2, -1)
    edges += list(table.reshape(grid.shape[1], -1))
    senders.append(starts[source] + grid[0])
    receivers.append(starts[out] + grid[1])
  return _Wiring(
    layout.stack_rows(nodes),
    layout.stack_rows(edges or [none]),
    np.concatenate(senders),
    np.concatenate(receivers),
  )


def _units(
  leaf: spec_lib.Leaf, axis: int, spec: spec_lib.Spec, pinned: str
) -> tuple[str, tuple[int, int, int]]:
  """Set of nodes along an axis, and its (outer, size, inner) split."""
  label = leaf.axes[axis]
  if label.group is None:
    return pinned, (1, leaf.shape[axis], 1)
  size = spec.group(label.group).size
  return f'group {label.group}', (label.outer, size, label.inner)
