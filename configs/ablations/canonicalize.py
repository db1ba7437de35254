r"""Which symmetry, once removed, helps a generator? One change per arm.

  wsjax sweep --config configs/ablations/canonicalize.py --workdir runs/canon

Three arms on one zoo, digits 64-16-10, with three training seeds each: the
weights as they were trained, aligned by permutations, and aligned after the
scale of every ReLU unit is balanced.

Hardware: not measured yet.
Time: not measured yet.
Measured: not measured yet.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
ARMS = ('none', 'permutation', 'permutation+scale')
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/digits_64_16_10', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:canonicalize={arm}', SHARED
