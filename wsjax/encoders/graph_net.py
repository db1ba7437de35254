"""Graph network: messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import ClassVar

from jaxtyping import Array, Float

from wsjax import typing
from wsjax.encoders import encoder
from wsjax.layers import graph_layers
from wsjax.tokens import graph as graph_lib


class GraphNet(graph_layers.GraphOptions, encoder.Encoder):
  """Mean and maximum over every set of neurons, behind layers of messages."""

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  def features(
    self,
    params: typing.Params | graph_lib.WeightGraph,
    *,
    train: bool = False,
    raw: typing.Params | None = None,
  ) -> Float[Array, ' features']:
    """Pooled nodes of the weights of one network, or of its graph."""
    del train
    graph, nodes, _ = self.stack()(params, raw)
    return graph.pool(nodes, self.sizes.node_kinds)
