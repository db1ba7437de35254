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
ARMS = {
  'independent_canonical': 'init=independent,canonicalize=permutation+scale',
  'independent_raw': 'init=independent,canonicalize=none',
  # Few components hold little of raw weights: is that why they fail?
  'independent_raw_all': 'init=independent,canonicalize=none,codec=identity',
  'shared_raw': 'init=shared,canonicalize=none',
  'shared_canonical': 'init=shared,canonicalize=permutation+scale',
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms on 2 zoos."""
  for arm, arg in ARMS.items():
    # The first arm of either kind breeds the zoo.
    zoo = f'runs/zoos/inr_generation_{arm.partition("_")[0]}'
    yield (
      arm,
      f'{BASE}:{arg}',
      {'zoo.path': zoo, 'train.seeds': (0, 1, 2)},
    )
