"""Graph network: messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from wsjax import typing
from wsjax.encoders import probe_features
from wsjax.layers import graph_features as features_lib
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib
from wsjax.tokens import graph as graph_lib


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

  @property
  def READS(self) -> str:  # noqa: N802 (a constant of other modules)
    """Probes run the network, so they need the weights as they are too."""
    return 'scaled' if self.stack.probed is None else 'both'

  @nn.compact
  def __call__(
    self,
    example: typing.Params | graph_lib.WeightGraph,
    *,
    train: bool = False,
    function: typing.Params | None = None,
  ) -> jax.Array:
    """Weights or graph of one network -> [embedding]; see `GraphStack`."""
    topology, nodes, _ = self.stack(example, function)
    x = topology.pool(nodes, self.stack.limit.node_kinds)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))

  def features(
    self, example: typing.Params | graph_lib.WeightGraph
  ) -> tuple[jax.Array, graph_layers.Edges]:
    """Nodes and edges before pooling, equivariant; see `GraphStack`."""
    return self.stack(example)[1:]


def make(
  architecture: model_lib.Model,
  *,
  limit: features_lib.Capacity | None = None,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  positions: str = 'learned',
  num_probes: int = 0,
  embedding: int = 128,
  dropout: float = 0.0,
) -> GraphEncoder:
  """The encoder; see `GraphStack` and `GraphEncoder`.

  Args:
    architecture: whose weights it reads.
    limit: what placed graphs may have, where it is to read those of other architectures too; None
      is what the architecture has.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    positions: of pinned nodes.
    num_probes: questions whose answers nodes carry; 0 for none.
    embedding: length of the embedding.
    dropout: share of the pooled features that is dropped in training.
  """
  stack = graph_layers.GraphStack(
    architecture.spec,
    limit or features_lib.capacity(architecture.spec),
    width,
    edge_width,
    depth,
    positions=positions,
    probed=probed(architecture, num_probes, width),
  )
  return GraphEncoder(stack, embedding, dropout)


def probed(
  architecture: model_lib.Model, num_probes: int, width: int
) -> probe_features.ProbeFeatures | None:
  """Probe features for a stack; None if there are no probes."""
  if not num_probes:
    return None
  return probe_features.ProbeFeatures(architecture, num_probes, width)
