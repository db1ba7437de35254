r"""Which encoder reads the digit that an INR draws? All, half a minute each.

  wsjax sweep --config configs/ablations/inr_encoders.py --workdir runs/inr

One zoo of 20,000 + 2,000 SIRENs; every encoder has the same half minute of
training on 2 cores, and three seeds.

Hardware: 2 CPU cores.
Time: not measured yet.
Measured: not yet.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/inr_classification.py'
ARMS = (
  'probes', 'probe_gen', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/inr_mnist', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 10 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:encoder={arm}', SHARED
