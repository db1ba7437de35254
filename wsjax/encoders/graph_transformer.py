"""Graph transformer: neurons attend to those that their weights join them to.

Attention is restricted to joined neurons, so its cost is linear in weights.

Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Diao & Loynd 2023, arXiv:2210.05062
(relational attention).
"""

from wsjax.encoders import graph_net
from wsjax.layers import graph_features as features_lib
from wsjax.layers import graph_layers
from wsjax.models import model as model_lib


def make(
  architecture: model_lib.Model,
  *,
  limit: features_lib.Capacity | None = None,
  width: int = 64,
  edge_width: int = 32,
  depth: int = 4,
  num_heads: int = 8,
  positions: str = 'learned',
  num_probes: int = 0,
  embedding: int = 128,
  dropout: float = 0.0,
) -> graph_net.GraphEncoder:
  """The encoder; see `GraphStack`, `GraphEncoder` and `graph_net.make`.

  Raises:
    ValueError: if there is no head.
  """
  if num_heads < 1:
    raise ValueError(f'A transformer needs a head; got num_heads={num_heads}.')
  stack = graph_layers.GraphStack(
    architecture.spec,
    limit or features_lib.capacity(architecture.spec),
    width,
    edge_width,
    depth,
    num_heads,
    positions,
    graph_net.probed(architecture, num_probes, width),
  )
  return graph_net.GraphEncoder(stack, embedding, dropout)
