"""Which symmetry to remove before a generator is trained.

  wsjax sweep --config configs/ablations/canonicalize.py --workdir runs/canonicalize

Three methods on one zoo of digits 64-16-10, three training seeds each: raw weights, weights
aligned by permutations, and weights aligned after the scale of every ReLU neuron is balanced.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: 12 min for all methods, 11 of them training.
Measured: results/canonicalize.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
METHODS = ('none', 'permutation', 'permutation+scale')
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/digits_64_16_10', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 methods."""
  for method in METHODS:
    yield method, f'{BASE}:canonicalize={method}', SHARED
