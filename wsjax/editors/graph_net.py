"""Editor by messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import ClassVar

import flax.linen as nn

from wsjax import typing
from wsjax.layers import graph_layers


class GraphNet(graph_layers.GraphOptions):
  """Equivariant map from the weights of one network to updates of them."""

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  @nn.compact
  def __call__(self, params: typing.Params, raw: typing.Params | None = None) -> typing.Params:
    """Updates of the weights of one network, path by path; `raw` are the unscaled weights."""
    _, nodes, edges = self.stack()(params, raw)
    return graph_layers.ToWeights(self.architecture.spec)(nodes, edges)
