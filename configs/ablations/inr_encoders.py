r"""Which encoder reads the digit that an INR draws? All, in seconds each.

  wsjax sweep --config configs/ablations/inr_encoders.py --workdir runs/inr

One zoo of 20,000 + 2,000 SIRENs; every encoder is trained for 11 to 33 s on 2
cores, with three seeds.

Hardware: 2 CPU cores, one other test run beside it for some of the time.
Time: 11 to 33 s of training per seed; 15 min in all.
Measured: accuracy % on 2,000 test networks, 3 seeds, with 95 % intervals; the
best constant has 11.0 %.

  probes             99.1 [98.7, 99.5]  learned grid, convolutions
  probe_gen          98.3 [97.5, 98.9]  linear generator
  probed_graph       88.6 [87.3, 89.9]  weights and probes
  graph_net          22.3 [20.5, 24.0]
  neural_functional  22.2 [20.4, 24.0]
  statistics         20.4 [18.7, 22.1]  baseline
  graph_transformer  19.4 [17.2, 21.9]
  scale_equivariant  17.4 [15.6, 19.2]
  token_transformer  15.9 [14.4, 17.5]  no symmetry
  flat_mlp           10.3 [9.1, 11.4]   no symmetry, control

What a network does is read in half a minute at most; what its weights say is
not.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/inr_classification.py'
ARMS = (
  'probes', 'probe_gen', 'probed_graph', 'neural_functional', 'graph_net',
  'graph_transformer', 'scale_equivariant', 'token_transformer', 'statistics',
  'flat_mlp',
)  # fmt: skip
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/inr_mnist', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 10 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:encoder={arm}', SHARED
