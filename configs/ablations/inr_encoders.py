"""Which encoder reads the digit of an INR from its weights best.

  wsjax sweep --config configs/ablations/inr_encoders.py --workdir runs/inr_encoders

One zoo of 20,000 + 2,000 SIRENs; all encoders, three training seeds each, at like training time.

Hardware: 2 CPU cores, one other test run beside it for some of the time.
Time: 11 to 33 s of training per seed; 15 min in all.
Measured: results/inr_encoders.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/inr_classification.py'
METHODS = (
  'probes', 'probe_gen', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/inr_mnist', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 10 methods."""
  for method in METHODS:
    yield method, f'{BASE}:encoder={method}', SHARED
