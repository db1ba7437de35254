r"""Which encoder reads how good a network is? All, half a minute each.

  wsjax sweep --config configs/ablations/cnn_encoders.py --workdir runs/cnn

One zoo of 6,000 CNNs with eight recipe factors, 4,000 of them to train on;
three seeds per encoder.

Hardware: 2 CPU cores, shared with other jobs (load 4 to 8).
Time: 11 s (neural_functional) to 201 s (probes) of training per seed on the
shared machine; 25 min in all.
Measured: Kendall's tau and R2 of the accuracy of 1,000 test networks, 3 seeds,
with 95 % intervals.

  probed_graph       0.806 [0.795, 0.816]  0.91
  neural_functional  0.779 [0.766, 0.791]  0.88
  probes             0.756 [0.739, 0.772]  0.80
  scale_equivariant  0.749 [0.734, 0.762]  0.85
  graph_net          0.748 [0.733, 0.762]  0.85
  graph_transformer  0.732 [0.717, 0.748]  0.83
  statistics         0.670 [0.646, 0.692]  0.75  baseline
  token_transformer  0.625 [0.598, 0.652]  0.68  no symmetry
  flat_mlp           0.569 [0.544, 0.595]  0.60  no symmetry, control

Over the statistics, on the same networks: probed_graph +0.136 [0.116, 0.158],
neural_functional +0.109 [0.089, 0.133].
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
ARMS = (
  'probes', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 9 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:encoder={arm}', SHARED
