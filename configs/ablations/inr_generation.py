r"""Can SIRENs be generated that did not start from the same weights?

  wsjax sweep --config configs/ablations/inr_generation.py --workdir runs/ig

Two zoos that differ in the initial weights alone, each network's own or shared,
and each as it was trained or in canonical form.

Hardware: 2 CPU cores, beside two to four other jobs.
Time: about 5 min per arm by the clock on the busy machine.
Measured: 600 samples, 3 training seeds, 95 % intervals: 1-NNA of drawings (50 %
is ideal), the same of the worse half, coverage, distance of weights to the
nearest training network, in tau. No arm has copies [0, 0.6].

  independent_canonical  74.9 [69.2, 80.7]    81.0 [73.7, 88.3]    73 %  1.09
  independent_raw       100.0 [100.0, 100.0] 100.0 [100.0, 100.0]   0 %  1.47
  independent_raw_all    99.8 [99.4, 100.0]  100.0 [100.0, 100.0]   0 %  1.90
  shared_raw             82.9 [78.1, 87.8]    88.5 [81.9, 95.1]    55 %  1.39
  shared_canonical       74.9 [69.1, 80.7]    82.7 [74.1, 91.3]    71 %  1.20
  fresh runs             51.5 [41.5, 61.5]    54.5 [50.0, 67.6]    96 %  1.01

In canonical form the start does not matter, raw it does. Of the last three arms
the generator alone was measured, by the same functions, without the baselines.
Raw weights fail also where none is cut off (`independent_raw_all`). With the
shared start the 32 components alone cost much: the round trip of training
networks has 79.5 % [72.6, 86.4] raw, 68.0 % [56.9, 79.1] in canonical form. All
these networks draw blurs: see configs/inr_generation.py, also for baselines.
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
