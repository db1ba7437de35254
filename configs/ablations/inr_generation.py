"""Whether SIRENs can be generated that do not share their initial weights.

  wsjax sweep --config configs/ablations/inr_generation.py --workdir runs/inr_generation

Two zoos that differ in the initial weights alone (own or shared), each raw or in canonical form;
flow matching, and once diffusion. `all` models all weights in place of 32 principal components.
`moved` applies random permutations, signs and phase shifts in every training step.

Hardware: 2 CPU cores, beside two to four other jobs.
Time: about 5 min per method on the busy machine.
Measured: results/inr_generation.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/inr_generation.py'
CANONICAL = 'canonicalize=permutation+scale'
ALL = 'canonicalize=none,codec=identity'
METHODS = {
  'independent_canonical': (f'init=independent,{CANONICAL}', {}),
  'independent_raw': ('init=independent,canonicalize=none', {}),
  # Few components hold little of raw weights: is that why they fail?
  'independent_raw_all': (f'init=independent,{ALL}', {}),
  'independent_diffusion': (f'init=independent,{CANONICAL},generator=diffusion', {}),
  'shared_raw': ('init=shared,canonicalize=none', {}),
  'shared_canonical': (f'init=shared,{CANONICAL}', {}),
  'shared_raw_all': (f'init=shared,{ALL}', {}),
  # The shared start, lost again.
  'shared_moved_all': (f'init=shared,{ALL}', {'strategy.augment': True}),
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 8 methods on 2 zoos."""
  for method, (arg, changes) in METHODS.items():
    # The first method of either kind trains the zoo.
    zoo = f'runs/zoos/inr_generation_{method.partition("_")[0]}'
    yield (method, f'{BASE}:{arg}', {'zoo.path': zoo, 'train.seeds': (0, 1, 2), **changes})
