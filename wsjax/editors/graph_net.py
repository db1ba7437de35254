"""Editor by messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import Annotated, ClassVar

import flax.linen as nn

from wsjax import config, typing
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib


class GraphNet(config.Section, nn.Module):
  """Equivariant map from the weights of one network to updates of them.

  Attributes:
    architecture: model whose weights are edited.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    num_heads: of attention along the weights, divides `edge_width`; 0 for plain means.
    positions: of inputs and outputs: 'learned', 'sinusoidal' or 'none'.
    num_probes: learned inputs on which neurons carry their activations; 0 for none.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  architecture: model_lib.Model
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
  def READS(self) -> str:  # noqa: N802 (a constant of other modules)
    """Probes run the network, so they need the raw weights too."""
    return 'both' if self.num_probes else 'scaled'

  @nn.compact
  def __call__(self, params: typing.Params, raw: typing.Params | None = None) -> typing.Params:
    """Updates of the weights of one network, path by path.

    Args:
      params: weights.
      raw: unscaled weights, where `params` are scaled.
    """
    stack = graph_layers.GraphStack(
      self.architecture,
      None,
      self.width,
      self.edge_width,
      self.depth,
      self.num_heads,
      self.positions,
      self.num_probes,
      name='stack',
    )
    _, nodes, edges = stack(params, raw)
    features = graph_layers.ToWeights(self.architecture.spec)(nodes, edges)
    return {path: value[..., 0] for path, value in features.items()}
