"""Editor by messages between neurons along the weights that join them.

Source: Kofinas et al. 2024, arXiv:2403.12143; Lim et al. 2024, arXiv:2312.04501.
"""

from typing import ClassVar

import flax.linen as nn

from wsjax import typing
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib


class Editor(nn.Module):
  """An equivariant map from the weights of one network to others.

  Attributes:
    stack: the equivariant part.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  stack: graph_layers.GraphStack

  @property
  def READS(self) -> str:  # noqa: N802 (a constant of other modules)
    """Probes run the network, so they need the weights as they are too."""
    return 'both' if self.stack.num_probes else 'scaled'

  @nn.compact
  def __call__(self, params: typing.Params, function: typing.Params | None = None) -> typing.Params:
    """Weights of one network -> as many numbers, path by path.

    Args:
      params: weights.
      function: the weights as they are run, where `params` are scaled.
    """
    _, nodes, edges = self.stack(params, function)
    features = graph_layers.ToWeights(self.stack.architecture.spec)(nodes, edges)
    return {path: value[..., 0] for path, value in features.items()}


def make(
  architecture: model_lib.Model,
  *,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  num_heads: int = 0,
  positions: str = 'learned',
  num_probes: int = 0,
) -> Editor:
  """The editor for one architecture; see `graph_layers.GraphStack`.

  Args:
    architecture: whose weights it edits.
    width: of the nodes.
    edge_width: of the edges.
    depth: number of layers.
    num_heads: of the attention; 0 for plain means.
    positions: of pinned nodes.
    num_probes: questions whose answers nodes carry; 0 for none.
  """
  return Editor(
    graph_layers.GraphStack(
      architecture, None, width, edge_width, depth, num_heads, positions, num_probes
    )
  )
