"""Statistics of every layer of a graph: a baseline for any architecture.

Other than `statistics` it reads networks of several architectures with one set of parameters, as
the graph encoders do.

Source: Unterthiner et al. 2020, arXiv:2002.11448, section 4 (quantiles of weights and biases, layer
by layer).
"""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import graph as graph_lib

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_TINY = 1e-6  # Below the size of weights; keeps a logarithm finite.


def statistics(graph: graph_lib.WeightGraph) -> jax.Array:
  """Size, mean and quantiles of the weights of every kind.

  Args:
    graph: of one network. A number that is exactly 0 counts as absent, since graphs have zeros
      where an architecture has fewer features.

  Returns:
    [9 * (edge kinds + node kinds)]: logarithm of the root mean square; mean and quantiles in units
    of it. All 0 for a kind that the network lacks.
  """
  parts = []
  for values, mask, kinds, number in (
    (graph.edges, graph.edge_mask, graph.edge_kinds, graph.capacity.edge_kinds),
    (graph.nodes, graph.node_mask, graph.node_kinds, graph.capacity.node_kinds),
  ):
    for kind in range(number):
      chosen = (mask & (kinds == kind))[:, None] & (values != 0)
      parts.append(_summary(values.reshape(-1), chosen.reshape(-1)))
  return jnp.concatenate(parts)


def _summary(values: jax.Array, chosen: jax.Array) -> jax.Array:
  """[n] numbers, of which some are chosen -> [9]."""
  count = jnp.sum(chosen)
  share = chosen / jnp.maximum(count, 1)
  size = jnp.sqrt(jnp.sum(share * values**2)) + _TINY
  ordered = jnp.sort(jnp.where(chosen, values, jnp.inf))
  ordered = jnp.where(jnp.isfinite(ordered), ordered, 0)
  # Linear between the ranks on either side, as jnp.quantile.
  rank = jnp.asarray(QUANTILES) * jnp.maximum(count - 1, 0)
  below = jnp.floor(rank).astype(jnp.int32)
  above = jnp.ceil(rank).astype(jnp.int32)
  part = rank - below
  quantiles = (1 - part) * ordered[below] + part * ordered[above]
  moments = jnp.stack([jnp.log(size), jnp.sum(share * values) / size])
  summary = jnp.concatenate([moments, quantiles / size])
  return jnp.where(count > 0, summary, 0)


class GraphStatistics(nn.Module):
  """An MLP on the statistics.

  Attributes:
    spec: the architecture whose weights are read; graphs may be of others.
    capacity: sizes of the graph.
    hidden: widths of the hidden layers.
    embedding: length of the embedding.
    dropout: share of the last hidden layer that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)
  # Brings sizes to one scale itself, and to do so once is cheaper.
  READS: ClassVar[str] = 'raw'

  spec: spec_lib.Spec
  capacity: graph_lib.Capacity
  hidden: Sequence[int] = (64,)
  embedding: int = 64
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, example: typing.Params | graph_lib.WeightGraph, *, train: bool = False
  ) -> jax.Array:
    """Weights of `spec`, or a graph of `capacity` -> [embedding].

    Raises:
      ValueError: if the graph has another capacity.
    """
    if not isinstance(example, graph_lib.WeightGraph):
      example = graph_lib.Graph(self.capacity).tokenize(example, self.spec)
    if example.capacity != self.capacity:
      raise ValueError(
        f'A graph is padded to {example.capacity}; this encoder reads {self.capacity}.'
      )
    x = statistics(example)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))


def make(
  architecture: model_lib.Model,
  *,
  capacity: graph_lib.Capacity | None = None,
  hidden: tuple[int, ...] = (64,),
  embedding: int = 64,
  dropout: float = 0.0,
) -> GraphStatistics:
  """The encoder; see `GraphStatistics` and `graph_net.make`."""
  spec = architecture.spec
  capacity = capacity or graph_lib.wiring(spec).capacity
  return GraphStatistics(spec, capacity, tuple(hidden), embedding, dropout)
