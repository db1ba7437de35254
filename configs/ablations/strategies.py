r"""Strategies of training a flow, one switch per arm.

  wsjax sweep --config configs/ablations/strategies.py --workdir runs/strategies

Flow matching on one zoo of digits 64-16-10, three training seeds. Arms differ
from `plain` by optimal transport between noise and networks, random orbits
instead of a canonical form, the snapshots of every run, patience with the loss
of held-out networks, a first layer that counts four times, and half of the
training networks.

Hardware: 2 CPU cores.
Time: about 1 min per arm on an idle machine.
Measured: not yet as a whole; every arm runs in the tests of configs.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
ARMS = {
  'plain': (BASE, {}),
  'transport': (BASE, {'generate.coupling': 'transport'}),
  'augmented': (f'{BASE}:canonicalize=none', {'strategy.augment': True}),
  'trajectory': (
    BASE,
    {'strategy.trajectory': True, 'zoo.recipe.snapshots': (200, 300)},
  ),
  'patience': (BASE, {'train.patience': 3, 'train.keep_best': 1}),
  'first layer': (BASE, {'normalize.weights': (('layer0', 4.0),)}),
  'half the zoo': (BASE, {'strategy.num_train': 256}),
}
SHARED = {'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 7 arms."""
  for arm, (config, changes) in ARMS.items():
    # Snapshots make another zoo.
    zoo = 'digits_64_16_10' + ('_snapshots' if arm == 'trajectory' else '')
    yield (
      arm.replace(' ', '_'),
      config,
      {'zoo.path': f'runs/zoos/{zoo}', **SHARED, **changes},
    )
