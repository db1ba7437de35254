r"""Which encoder reads the digit that an INR draws? All, half a minute each.

  wsjax sweep --config configs/ablations/inr_encoders.py --workdir runs/inr

One zoo of 20,000 + 2,000 SIRENs; every encoder has the same half minute of
training on 2 cores, and three seeds.

Hardware: 2 CPU cores, shared with other jobs (load 4 to 8).
Time: 28 to 123 s of training per seed; 35 min in all.
Measured: accuracy % on 2,000 test networks, 3 seeds, with 95 % intervals; the
best constant has 11.0 %.

  probes             99.2 [98.7, 99.5]  learned grid, convolutions
  probe_gen          98.1 [97.6, 98.7]  linear generator
  probed_graph       88.6 [86.9, 90.2]  weights and probes
  neural_functional  22.4 [20.6, 24.2]
  graph_net          21.8 [19.2, 24.2]
  statistics         20.4 [18.7, 22.1]  baseline
  graph_transformer  19.9 [17.3, 22.7]
  scale_equivariant  18.0 [16.2, 19.9]
  token_transformer  15.2 [13.7, 16.7]  no symmetry
  flat_mlp            9.8 [8.7, 10.9]   no symmetry, control

What a network does is read in half a minute; what its weights say is not.
graph_net and graph_transformer were first tried at twice this learning rate,
where two seeds of three stayed at chance.
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
