"""Which loss and which symmetry lets a generator pass the gate.

  wsjax sweep --config configs/ablations/functional_loss.py --workdir runs/functional_loss

A hypernetwork on one zoo of digits 64-16-10, three training seeds. Every method changes one thing
of `both`: the weight of the distribution loss or of the functional loss, the symmetry that is
removed first, or augmentation in its place. `functional 5` is the weight that `latent noise`,
noise of a learned scale on every weight, needs. `flow` is flow matching in 64 principal
components with the functional loss, through eight steps of its sampler; `flow plain` is without
it.

Hardware: 2 CPU cores shared with other work, so times are upper bounds.
Time: 2 to 5 min per method, `flow` 5 to 22 min per seed.
Measured: results/functional_loss.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/hypernetwork.py'
FLOW = 'configs/digits_flow.py'
METHODS = {
  'both': (BASE, {}),
  'distribution only': (BASE, {'strategy.functional': 0.0}),
  'functional only': (BASE, {'strategy.distribution': 0.0}),
  'distribution 1': (BASE, {'strategy.distribution': 1.0}),
  'distribution 16': (BASE, {'strategy.distribution': 16.0}),
  'permutation': (f'{BASE}:canonicalize=permutation', {}),
  'no symmetry': (f'{BASE}:canonicalize=none', {}),
  'augmented': (f'{BASE}:canonicalize=none', {'strategy.augment': True}),
  'functional 5': (BASE, {'strategy.functional': 5.0}),
  'latent noise': (f'{BASE}:noise=latent', {}),
  'flow plain': (FLOW, {'generator.num_steps': 8}),
  'flow': (
    FLOW,
    {'generator.num_steps': 8, 'strategy.functional': 1.0, 'strategy.functional_networks': 32},
  ),
}
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/digits_64_16_10', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 12 methods."""
  for method, (config, changes) in METHODS.items():
    yield method.replace(' ', '_'), config, {**SHARED, **changes}
