"""Statistics of every parameter of a graph: a baseline for several architectures at once.

Source: Unterthiner et al. 2020, arXiv:2002.11448, section 4 (quantiles of weights and biases, layer
by layer).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.tokens import graph as graph_lib

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_TINY = 1e-6  # Below the size of weights; keeps a logarithm finite.


class GraphStatistics(encoder.Encoder):
  """MLP on size, mean and quantiles of every parameter.

  Attributes:
    capacity: sizes of the graphs that are read, of one or several architectures; None for those of
      the architecture alone.
    hidden: widths of the hidden layers.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)
  READS: ClassVar[str] = 'raw'  # Statistics are scaled below, which is cheaper.

  embedding: config.PositiveInt = 64
  capacity: graph_lib.Capacity | None = None
  hidden: tuple[config.PositiveInt, ...] = (64,)

  def features(
    self, params: typing.Params | graph_lib.WeightGraph, *, train: bool = False
  ) -> Float[Array, ' features']:
    """Outputs of the last hidden layer, for the weights of one network or its graph.

    Raises:
      ValueError: if a graph has another capacity.
    """
    del train
    spec = self.architecture.spec
    capacity = self.capacity or graph_lib.wiring(spec).capacity
    is_graph = isinstance(params, graph_lib.WeightGraph)
    graph = params if is_graph else graph_lib.Graph(capacity).tokenize(params, spec)
    if graph.capacity != capacity:
      raise ValueError(f'A graph is padded to {graph.capacity}; this encoder reads {capacity}.')
    x = statistics(graph)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return x


def statistics(graph: graph_lib.WeightGraph) -> Float[Array, ' statistics']:
  """Size, mean and quantiles of the weights of every kind, in the graph of one network.

  A number that is exactly 0 counts as absent: graphs have zeros where an architecture has fewer
  features.

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


def _summary(values: Float[Array, ' n'], chosen: Bool[Array, ' n']) -> jax.Array:
  """Nine statistics of the chosen numbers."""
  count = jnp.sum(chosen)
  share = chosen / jnp.maximum(count, 1)
  size = jnp.sqrt(jnp.sum(share * values**2)) + _TINY
  ordered = jnp.sort(jnp.where(chosen, values, jnp.inf))
  ordered = jnp.where(jnp.isfinite(ordered), ordered, 0)
  # Linear between the ranks on either side, like jnp.quantile.
  rank = jnp.asarray(QUANTILES) * jnp.maximum(count - 1, 0)
  below, above = (f(rank).astype(jnp.int32) for f in (jnp.floor, jnp.ceil))
  part = rank - below
  quantiles = (1 - part) * ordered[below] + part * ordered[above]
  moments = jnp.stack([jnp.log(size), jnp.sum(share * values) / size])
  return jnp.where(count > 0, jnp.concatenate([moments, quantiles / size]), 0)
