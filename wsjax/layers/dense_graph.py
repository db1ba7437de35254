"""The graph of one architecture, without index lists.

Units that interchange, or the pinned inputs or outputs of a layer, form a set of nodes; a leaf that
joins two sets is a full grid of edges between them. So messages are sums along the axes of a grid,
and nothing is gathered. The nodes and edges are those of `tokens.graph`, in the same order.

Source: Kofinas et al. 2024, arXiv:2403.12143 (networks as neural graphs).
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import spec as spec_lib


@dataclasses.dataclass(frozen=True)
class NodeSet:
  """A set of nodes.

  Attributes:
    start: of its nodes among those of the graph.
    size: number of nodes.
    group: id of the group that may reorder them; None if they are pinned.
    features: numbers that a node of it has, biases and the like.
  """

  start: int
  size: int
  group: str | None
  features: int = 0

  @property
  def nodes(self) -> slice:
    """Where its nodes stand."""
    return slice(self.start, self.start + self.size)


@dataclasses.dataclass(frozen=True)
class Part:
  """How one leaf lies in the graph.

  Attributes:
    leaf: the leaf.
    splits: (outer, size, inner) of its last axis or its last two axes.
    source: number of the set that its edges start from; None for node features.
    target: number of the set that they end at, or that has the features.
    features: weights per edge, or per node.
  """

  leaf: spec_lib.Leaf
  splits: tuple[tuple[int, int, int], ...]
  source: int | None
  target: int
  features: int


@dataclasses.dataclass(frozen=True)
class Wiring:
  """Node sets and leaves of a graph, in the order of the spec."""

  sets: tuple[NodeSet, ...]
  parts: tuple[Part, ...]

  @property
  def num_nodes(self) -> int:
    """Number of nodes."""
    return sum(each.size for each in self.sets)

  @property
  def joints(self) -> tuple[Part, ...]:
    """The leaves that are edges."""
    return tuple(part for part in self.parts if part.source is not None)

  @property
  def node_parts(self) -> tuple[Part, ...]:
    """The leaves that are node features."""
    return tuple(part for part in self.parts if part.source is None)


@functools.cache
def wiring(spec: spec_lib.Spec) -> Wiring:
  """The graph of an architecture.

  Raises:
    ValueError: for a leaf of rank 0, or one that has a group elsewhere than on its last two axes: a
      weight joins at most two neurons here.
  """
  sets: dict[str, NodeSet] = {}
  numbers: dict[str, int] = {}
  parts = []

  def number(leaf: spec_lib.Leaf, axis: int, pinned: str) -> int:
    group = leaf.axes[axis].group
    name = f'= {pinned}' if group is None else group
    if name not in sets:
      start = sum(each.size for each in sets.values())
      sets[name] = NodeSet(start, _split(leaf, axis, spec)[1], group)
      numbers[name] = len(numbers)
    return numbers[name]

  for leaf in spec.leaves:
    _check(leaf)
    layer = leaf.path.rpartition('/')[0]
    splits = tuple(_split(leaf, axis, spec) for axis in range(-min(len(leaf.shape), 2), 0))
    features = math.prod(leaf.shape) // math.prod(s[1] for s in splits)
    source = None
    if len(splits) == 2:
      source = number(leaf, -2, f'input of {layer}')
    target = number(leaf, -1, f'output of {layer}')
    parts.append(Part(leaf, splits, source, target, features))
  widths = [0] * len(sets)
  for part in parts:
    widths[part.target] += part.features if part.source is None else 0
  return Wiring(
    tuple(
      dataclasses.replace(each, features=width)
      for each, width in zip(sets.values(), widths, strict=True)
    ),
    tuple(parts),
  )


def split(params: typing.Params, spec: spec_lib.Spec) -> tuple[list[jax.Array], list[jax.Array]]:
  """Node and edge features of one network.

  Returns:
    [n, k] for every set (k may be 0), and [n_in, n_out, k] for every joint.

  Raises:
    ValueError: if `params` do not fit `spec`.
  """
  spec.check(params)
  graph = wiring(spec)
  grids = [part_grid(jnp.asarray(params[p.leaf.path]), p) for p in graph.parts]
  nodes = []
  for number, each in enumerate(graph.sets):
    own = [
      grid
      for grid, part in zip(grids, graph.parts, strict=True)
      if part.source is None and part.target == number
    ]
    nodes.append(jnp.concatenate(own, -1) if own else jnp.zeros((each.size, 0)))
  edges = [grid for grid, part in zip(grids, graph.parts, strict=True) if part.source is not None]
  return nodes, edges


def part_grid(value: jax.Array, part: Part) -> jax.Array:
  """A leaf as [n, k] node or [n_in, n_out, k] edge features."""
  lead, sizes, order = _layout(part)
  value = value.reshape(*lead, *sizes).transpose(order)
  return value.reshape(*(split[1] for split in part.splits), part.features)


def part_leaf(grid: jax.Array, part: Part) -> jax.Array:
  """Inverse of `part_grid`, for any number of numbers per weight.

  Args:
    grid: [n, k * c] or [n_in, n_out, k * c].
    part: what the grid belongs to.

  Returns:
    [*leaf.shape, c].
  """
  lead, sizes, order = _layout(part)
  shape = [(*lead, *sizes)[axis] for axis in order]
  value = grid.reshape(*shape, -1)
  back = sorted(range(len(order)), key=lambda axis: order[axis])
  value = value.transpose(*back, len(order))
  return value.reshape(*part.leaf.shape, -1)


def edge_counts(graph: Wiring, *, leaving: bool) -> list[float]:
  """Number of edges that end at (or leave) every node, at least 1."""
  counts = [0] * len(graph.sets)
  for part in graph.joints:
    ends = (part.source, part.target)
    here, there = ends if leaving else ends[::-1]
    counts[here] += graph.sets[there].size
  return [
    float(max(count, 1))
    for count, each in zip(counts, graph.sets, strict=True)
    for _ in range(each.size)
  ]


def by_set(graph: Wiring, pieces: Sequence[tuple[int, jax.Array]], width: int) -> jax.Array:
  """[N, width] sums of [n, width] pieces, each for the set of that number."""
  rows = []
  for number, each in enumerate(graph.sets):
    own = [piece for place, piece in pieces if place == number]
    rows.append(sum(own[1:], own[0]) if own else jnp.zeros((each.size, width)))
  return jnp.concatenate(rows)


def _layout(part: Part) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
  """Window and split sizes of a leaf, and the order that puts sets first."""
  lead = part.leaf.shape[: -len(part.splits)]
  sizes = tuple(size for each in part.splits for size in each)
  first = [len(lead) + 3 * i + 1 for i in range(len(part.splits))]
  rest = [i for i in range(len(lead) + len(sizes)) if i not in first]
  return lead, sizes, (*first, *rest)


def _split(leaf: spec_lib.Leaf, axis: int, spec: spec_lib.Spec) -> tuple[int, int, int]:
  """(outer, size, inner) of an axis."""
  label = leaf.axes[axis]
  if label.group is None:
    return (1, leaf.shape[axis], 1)
  return (label.outer, spec.group(label.group).size, label.inner)


def _check(leaf: spec_lib.Leaf) -> None:
  """Raises for a leaf that the graph has no place for."""
  if not leaf.shape:
    raise ValueError(f'{leaf.path} is a scalar; a graph has no place for it.')
  if any(axis.group is not None for axis in leaf.axes[:-2]):
    raise ValueError(
      f'{leaf.path} has the groups {[axis.group for axis in leaf.axes]}; a '
      'graph takes weights whose groups lie on the last two axes.'
    )
