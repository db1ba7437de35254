"""Training strategies of a flow, one switch per method.

  wsjax sweep --config configs/ablations/strategies.py --workdir runs/strategies

Flow matching on one zoo of digits 64-16-10, three training seeds. Methods differ from `plain` by
an optimal-transport coupling, random orbit members instead of a canonical form, the snapshots of
every run, early stopping on held-out networks, a first layer that counts four times, and half of
the training networks. Two are sampled from `plain`: guided by the gradient of the task loss on
256 training images, or trained for 50 more steps.

Hardware: 2 CPU cores shared with other work.
Time: 20 min for all methods beside two other jobs.
Measured: results/strategies.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
METHODS = {
  'plain': (BASE, {}),
  'transport': (BASE, {'generator.coupling': 'transport'}),
  'augmented': (f'{BASE}:canonicalize=none', {'strategy.augment': True}),
  'trajectory': (BASE, {'strategy.trajectory': True, 'zoo.recipe.snapshots': (200, 300)}),
  'patience': (BASE, {'train.patience': 3, 'train.keep_best': 1}),
  'first layer': (BASE, {'normalize.weights': (('layer0', 4.0),)}),
  'half the zoo': (BASE, {'strategy.num_train': 256}),
  # Of 0.01 to 100, on validation images and one seed, the one that does what 10 steps of refining
  # do.
  'led': (BASE, {'sample.task_scale': 30.0}),
  'refined': (BASE, {'sample.refine_steps': 50}),
}
SHARED = {'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 9 methods."""
  for method, (config, changes) in METHODS.items():
    # Snapshots make another zoo.
    zoo = 'digits_64_16_10' + ('_snapshots' if method == 'trajectory' else '')
    yield (method.replace(' ', '_'), config, {'zoo.path': f'runs/zoos/{zoo}', **SHARED, **changes})
