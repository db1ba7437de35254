r"""Which symmetry, once removed, helps a generator? One change per arm.

  wsjax sweep --config configs/ablations/canonicalize.py --workdir runs/canon

Three arms on one zoo, digits 64-16-10, with three training seeds each: the
weights as they were trained, aligned by permutations, and aligned after the
scale of every ReLU unit is balanced.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: 12 min for all arms, 11 of them training.
Measured: 128 networks per seed, 3 training seeds, one zoo of 512; accuracy
with its 95 % interval over seeds, networks and items: none 71.0 %
[68.6, 73.5] at 0.90 tau; permutation 81.1 % [78.8, 83.5] at 0.87 tau;
permutation and scale 82.3 % [80.1, 84.6] at 0.86 tau. No copies, G = G1/2 =
G_b = 0 of 384 in every arm: permutations carry the gain, what scales add is
within the interval, and no arm passes a gate.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
ARMS = ('none', 'permutation', 'permutation+scale')
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/digits_64_16_10', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:canonicalize={arm}', SHARED
