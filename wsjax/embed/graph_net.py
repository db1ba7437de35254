"""Graph network: messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024,
arXiv:2312.04501.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from wsjax import typing
from wsjax.embed import graph_features as features_lib
from wsjax.embed import graph_layers
from wsjax.tokens import graph as graph_lib
from wsjax.zoo import architecture as architecture_lib


class GraphEncoder(nn.Module):
  """An invariant embedding of one network: its sets of neurons, pooled.

  Attributes:
    stack: the equivariant part.
    embedding: length of the embedding.
    dropout: share of the pooled features that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  stack: graph_layers.GraphStack
  embedding: int = 128
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    example: typing.Params | graph_lib.WeightGraph,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Weights or graph of one network -> [embedding]; see `GraphStack`."""
    topology, nodes, _ = self.stack(example)
    x = topology.pool(nodes, self.stack.limit.node_kinds)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))

  def features(
    self, example: typing.Params | graph_lib.WeightGraph
  ) -> tuple[jax.Array, graph_layers.Edges]:
    """Nodes and edges before pooling, equivariant; see `GraphStack`."""
    return self.stack(example)[1:]


def make(
  architecture: architecture_lib.Architecture,
  *,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  positions: str = 'learned',
  embedding: int = 128,
  dropout: float = 0.0,
) -> GraphEncoder:
  """The encoder for one architecture; see `GraphStack` and `GraphEncoder`."""
  stack = graph_layers.GraphStack(
    architecture.spec,
    features_lib.capacity(architecture.spec),
    width,
    edge_width,
    depth,
    positions=positions,
  )
  return GraphEncoder(stack, embedding, dropout)
