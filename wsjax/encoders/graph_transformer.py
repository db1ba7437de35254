"""Graph transformer: neurons attend to the neurons that their weights join them to.

Source: Kofinas et al. 2024, arXiv:2403.12143, section 4; Diao & Loynd 2023, arXiv:2210.05062
(relational attention).
"""

from wsjax import config
from wsjax.encoders import graph_net


class GraphTransformer(graph_net.GraphNet):
  """Graph network whose messages are weighted by attention; see `graph_net.GraphNet`."""

  num_heads: config.PositiveInt = 8
