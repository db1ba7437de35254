"""Generators of MNIST CNNs: densities, selection, a flow, a hypernetwork.

  wsjax data prepare mnist --from DIR
  wsjax sweep --config configs/ablations/mnist_cnn.py --workdir runs/mnist_cnn

One zoo of 128 CNNs with 1,898 weights, three training seeds per method. The question is that of
Schürholt et al. 2024, arXiv:2406.09997, for CNNs of 2,464 weights.

Hardware: 2 CPU cores.
Time: 10 to 20 min per method beside other work, most of it evaluation.
Measured: results/mnist_cnn.json.
"""

from collections.abc import Iterator
from typing import Any

SIMPLE = 'configs/simple.py:rig=mnist_cnn,generator='
METHODS = {
  'kernel density': (f'{SIMPLE}kde', {}),
  'SUB': (f'{SIMPLE}best_of_n', {}),
  'BOOT': (f'{SIMPLE}best_of_n', {'generator.rounds': 4}),
  'flow matching': (f'{SIMPLE}flow_matching', {}),
  'hypernetwork': ('configs/hypernetwork.py:rig=mnist_cnn', {'train.steps': 2_000}),
}
SHARED = {
  'zoo.path': 'runs/zoos/mnist_cnn',
  'train.seeds': (0, 1, 2),
  # Most of the time is spent on what networks answer to 10,000 images.
  'evaluate.num_samples': 64,
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 methods."""
  for method, (config, changes) in METHODS.items():
    yield method.replace(' ', '_').lower(), config, SHARED | changes
