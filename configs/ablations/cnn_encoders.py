"""Which encoder reads the accuracy of a CNN from its weights best.

  wsjax sweep --config configs/ablations/cnn_encoders.py --workdir runs/cnn_encoders

One zoo of 6,000 CNNs with eight recipe factors, 4,000 of them for training; all encoders, three
training seeds each.

Hardware: 2 CPU cores.
Time: 6 s (neural_functional) to 65 s (probes) of training per seed; 10 min in all.
Measured: results/cnn_encoders.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
METHODS = (
  'probes', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 9 methods."""
  for method in METHODS:
    yield method, f'{BASE}:encoder={method}', SHARED
