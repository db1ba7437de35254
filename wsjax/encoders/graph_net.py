"""Graph network: messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import Annotated, ClassVar

from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.layers import graph_layers
from wsjax.tokens import graph as graph_lib


class GraphNet(encoder.Encoder):
  """Mean and maximum over every set of neurons, behind layers of messages.

  Attributes:
    capacity: sizes of the graphs that are read, of one or several architectures; None for those of
      the architecture alone.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    num_heads: of attention along the weights, divides `edge_width`; 0 for plain means.
    positions: of inputs and outputs: 'learned', 'sinusoidal' or 'none'.
    num_probes: learned inputs on which neurons carry their activations; 0 for none.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  capacity: graph_lib.Capacity | None = None
  width: config.PositiveInt = 64
  edge_width: config.PositiveInt = 32
  depth: config.NonNegativeInt = 4
  num_heads: config.NonNegativeInt = 0
  positions: Annotated[str, config.OneOf(graph_layers.POSITIONS)] = 'learned'
  num_probes: config.NonNegativeInt = 0

  def __post_init__(self):
    super().__post_init__()
    graph_layers.check_heads(self.edge_width, self.num_heads)

  @property
  def READS(self) -> str:  # noqa: N802 (a constant of other encoders)
    """Probes run the network, so they need the raw weights too."""
    return 'both' if self.num_probes else 'scaled'

  def features(
    self,
    params: typing.Params | graph_lib.WeightGraph,
    *,
    train: bool = False,
    raw: typing.Params | None = None,
  ) -> Float[Array, ' features']:
    """Pooled nodes of the weights of one network, or of its graph."""
    del train
    stack = graph_layers.GraphStack(
      self.architecture,
      self.capacity,
      self.width,
      self.edge_width,
      self.depth,
      self.num_heads,
      self.positions,
      self.num_probes,
      name='stack',
    )
    graph, nodes, _ = stack(params, raw)
    return graph.pool(nodes, stack.sizes.node_kinds)
