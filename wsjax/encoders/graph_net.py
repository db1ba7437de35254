"""Graph network: messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from wsjax import typing
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib
from wsjax.tokens import graph as graph_lib


class GraphNet(nn.Module):
  """Invariant embedding of one network: its sets of neurons, pooled.

  Attributes:
    stack: the equivariant part.
    embedding: length of the embedding.
    dropout: share of the pooled features that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  stack: graph_layers.GraphStack
  embedding: int = 128
  dropout: float = 0.0

  @property
  def READS(self) -> str:  # noqa: N802 (a constant of other modules)
    """Probes run the network, so they need the weights as they are too."""
    return 'both' if self.stack.num_probes else 'scaled'

  @nn.compact
  def __call__(
    self,
    example: typing.Params | graph_lib.WeightGraph,
    *,
    train: bool = False,
    function: typing.Params | None = None,
  ) -> jax.Array:
    """Weights or graph of one network -> [embedding]; see `GraphStack`."""
    graph, nodes, _ = self.stack(example, function)
    capacity = self.stack.capacity or graph_lib.wiring(self.stack.architecture.spec).capacity
    x = graph.pool(nodes, capacity.node_kinds)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))


def make(
  architecture: model_lib.Model,
  *,
  capacity: graph_lib.Capacity | None = None,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  positions: str = 'learned',
  num_probes: int = 0,
  embedding: int = 128,
  dropout: float = 0.0,
) -> GraphNet:
  """The encoder; see `GraphStack` and `GraphNet`."""
  stack = graph_layers.GraphStack(
    architecture, capacity, width, edge_width, depth, 0, positions, num_probes
  )
  return GraphNet(stack, embedding, dropout)
