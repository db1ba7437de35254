r"""Which encoder reads how good a network is? All, a minute each at most.

  wsjax sweep --config configs/ablations/cnn_encoders.py --workdir runs/cnn

One zoo of 6,000 CNNs with eight recipe factors, 4,000 of them to train on;
three seeds per encoder.

Hardware: 2 CPU cores.
Time: 6 s (neural_functional) to 65 s (probes) of training per seed; 10 min in
all.
Measured: Kendall's tau and R2 of the accuracy of 1,000 test networks, 3 seeds,
with 95 % intervals.

  probed_graph       0.806 [0.796, 0.817]  0.91
  neural_functional  0.779 [0.766, 0.791]  0.88
  probes             0.754 [0.738, 0.768]  0.81
  graph_net          0.751 [0.737, 0.764]  0.85
  scale_equivariant  0.746 [0.731, 0.759]  0.85
  graph_transformer  0.733 [0.717, 0.749]  0.83
  statistics         0.668 [0.643, 0.690]  0.75  baseline
  token_transformer  0.623 [0.595, 0.651]  0.68  no symmetry
  flat_mlp           0.574 [0.548, 0.600]  0.60  no symmetry, control

Over the statistics, on the same networks: probed_graph +0.138 [0.118, 0.161],
neural_functional +0.111 [0.091, 0.134], graph_transformer, the least of the
equivariant ones, +0.065 [0.048, 0.083].
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
ARMS = (
  'probes', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 9 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:encoder={arm}', SHARED
