"""Graph transformer: neurons attend to those that their weights join them to.

Attention is restricted to joined neurons, so its cost is linear in weights.

Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Diao & Loynd 2023, arXiv:2210.05062
(relational attention).
"""

from wsjax.encoders import graph_net
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib
from wsjax.tokens import graph as graph_lib


def make(
  architecture: model_lib.Model,
  *,
  capacity: graph_lib.Capacity | None = None,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  num_heads: int = 8,
  positions: str = 'learned',
  num_probes: int = 0,
  embedding: int = 128,
  dropout: float = 0.0,
) -> graph_net.GraphNet:
  """The encoder; see `GraphStack` and `GraphNet`.

  Raises:
    ValueError: if there is no head.
  """
  if num_heads < 1:
    raise ValueError(f'A transformer needs a head; got num_heads={num_heads}.')
  stack = graph_layers.GraphStack(
    architecture, capacity, width, edge_width, depth, num_heads, positions, num_probes
  )
  return graph_net.GraphNet(stack, embedding, dropout)
