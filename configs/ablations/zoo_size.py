"""Learning curve of reading accuracy over the number of networks.

  wsjax sweep --config configs/ablations/zoo_size.py --workdir runs/zoo_size

The encoder that reads the accuracy of a CNN best, trained for 1,000 steps on 250 to 4,000
networks of one zoo.

Hardware: 2 CPU cores.
Time: 14 to 19 s of training per seed; 5 min in all.
Measured: results/zoo_size.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=probed_graph'
METHODS = (250, 500, 1_000, 2_000, 4_000)
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 methods."""
  for method in METHODS:
    yield f'{method}', BASE, {**SHARED, 'property.num_train': method}
