r"""Can SIRENs be generated that did not start from the same weights?

  wsjax sweep --config configs/ablations/inr_generation.py --workdir runs/ig

Two zoos that differ in the initial weights alone, of one's own or shared, and
each as it was trained or in canonical form.

Hardware: not measured yet.
Time: not measured yet.
Measured: not measured yet.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/inr_generation.py'
INITS = ('independent', 'shared')
ARMS = {'canonical': 'permutation+scale', 'raw': 'none'}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 2 x 2 arms."""
  for init in INITS:
    for arm, mode in ARMS.items():
      yield (
        f'{init}_{arm}',
        f'{BASE}:init={init},canonicalize={mode}',
        # The first arm of either kind breeds the zoo.
        {
          'zoo.path': f'runs/zoos/inr_generation_{init}',
          'train.seeds': (0, 1, 2),
        },
      )
