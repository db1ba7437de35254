r"""Where to put the symmetry: into layers, data, a canonical form, or nowhere?

  wsjax sweep --config configs/ablations/symmetry.py --workdir runs/symmetry

Five readers of the accuracy of a CNN at equal training time: an MLP on raw
weights; on weights moved by a random group element in every step; on weights
brought into canonical form; and encoders that cannot see the order of units,
or neither their order nor their scale.

Hardware: 2 CPU cores.
Time: not measured yet.
Measured: not yet.
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
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms."""
  for arm, (encoder, overrides) in ARMS.items():
    yield arm, f'{BASE}:encoder={encoder}', {**SHARED, **overrides}
