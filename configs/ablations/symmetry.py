r"""Where to put the symmetry: into layers, data, a canonical form, or nowhere?

  wsjax sweep --config configs/ablations/symmetry.py --workdir runs/symmetry

Five readers of the accuracy of a CNN at like training time: an MLP on raw
weights; on weights moved by a random group element in every step; on weights
brought into canonical form; and encoders that cannot see the order of units,
or neither their order nor their scale.

Hardware: 2 CPU cores.
Time: 13 to 28 s of training per seed; 6 min in all.
Measured: Kendall's tau and R2 of the accuracy of 1,000 test networks, 3 seeds,
95 % intervals.

  nothing                    0.574 [0.548, 0.600]  0.60  1.3 M parameters
  augmentation               0.699 [0.679, 0.717]  0.72  1.3 M
  canonical form             0.679 [0.658, 0.698]  0.75  1.3 M
  permutation in the layers  0.772 [0.759, 0.784]  0.88   94 k
  scale in the layers too    0.746 [0.731, 0.759]  0.85  116 k

Any use of the symmetry is better than none, and layers that have it are better
than data that show it. That layers are blind to scales as well does not pay
here.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
ARMS = {
  'nothing': ('flat_mlp', {}),
  'augmentation': ('flat_mlp', {'augment.symmetry': True}),
  'canonical_form': (
    'flat_mlp', {'symmetry.canonicalize': 'permutation+scale'},
  ),
  'permutation_in_the_layers': ('neural_functional', {'train.steps': 3_000}),
  'scale_in_the_layers': ('scale_equivariant', {}),
}  # fmt: skip
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms."""
  for arm, (encoder, overrides) in ARMS.items():
    yield arm, f'{BASE}:encoder={encoder}', {**SHARED, **overrides}
