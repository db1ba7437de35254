r"""What lets a generator pass the gate: the zoo, the task, or the symmetry?

  wsjax sweep --config configs/ablations/behaviour.py --workdir runs/behaviour

A hypernetwork on one zoo of digits 64-16-10, three training seeds; every arm
changes one thing of `both`: the weight of likeness to the zoo and of behaviour
on the training images, the symmetry that is removed first, or augmentation in
place of it. `flow` is flow matching in 64 principal components with the same
behaviour loss, through eight steps of its sampler; `flow plain` is without.

Hardware: 2 CPU cores.
Time: TODO
Measured: TODO
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/hypernetwork.py'
FLOW = 'configs/digits_flow.py'
ARMS = {
  'both': (BASE, {}),
  'likeness only': (BASE, {'strategy.behaviour': 0.0}),
  'behaviour only': (BASE, {'strategy.likeness': 0.0}),
  'likeness 1': (BASE, {'strategy.likeness': 1.0}),
  'likeness 16': (BASE, {'strategy.likeness': 16.0}),
  'permutation': (f'{BASE}:canonicalize=permutation', {}),
  'no symmetry': (f'{BASE}:canonicalize=none', {}),
  'augmented': (f'{BASE}:canonicalize=none', {'strategy.augment': True}),
  'flow plain': (FLOW, {'generate.num_steps': 8}),
  'flow': (
    FLOW,
    {
      'generate.num_steps': 8,
      'strategy.behaviour': 1.0,
      'strategy.behaviour_nets': 32,
    },
  ),
}
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/digits_64_16_10', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 10 arms."""
  for arm, (config, changes) in ARMS.items():
    yield arm.replace(' ', '_'), config, {**SHARED, **changes}
