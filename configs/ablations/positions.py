"""Whether a graph network needs positions of inputs and outputs.

  wsjax sweep --config configs/ablations/positions.py --workdir runs/positions

Hidden neurons have no position. Positions of pinned inputs and outputs are learned, sinusoidal,
or left out, so that classes and pixels cannot be told apart.

Hardware: 2 CPU cores.
Time: 8 to 11 s of training per seed; 2 min in all.
Measured: results/positions.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=graph_net'
METHODS = ('learned', 'sinusoidal', 'none')
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 methods."""
  for method in METHODS:
    yield method, BASE, {**SHARED, 'encoder.positions': method}
