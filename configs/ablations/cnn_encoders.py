r"""Which encoder reads how good a network is? All, half a minute each.

  wsjax sweep --config configs/ablations/cnn_encoders.py --workdir runs/cnn

One zoo of 6,000 CNNs with eight recipe factors, 4,000 of them to train on;
three seeds per encoder.

Hardware: 2 CPU cores.
Time: not measured yet.
Measured: not yet.
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
