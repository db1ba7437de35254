"""Where to use the symmetry: in layers, data, a canonical form, or nowhere.

  wsjax sweep --config configs/ablations/symmetry.py --workdir runs/symmetry

Five encoders read the accuracy of a CNN at like training time: an MLP on raw weights; on weights
with a random group element applied in every step; on weights in canonical form; and encoders that
are invariant to permutations, or to permutations and scales.

Hardware: 2 CPU cores.
Time: 13 to 28 s of training per seed; 6 min in all.
Measured: results/symmetry.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
METHODS = {
  'nothing': ('flat_mlp', {}),
  'augmentation': ('flat_mlp', {'augment.symmetry': True}),
  'canonical_form': (
    'flat_mlp', {'symmetry.canonicalize': 'permutation+scale'},
  ),
  'permutation_in_the_layers': ('neural_functional', {'train.steps': 3_000}),
  'scale_in_the_layers': ('scale_equivariant', {}),
}  # fmt: skip
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 methods."""
  for method, (encoder, overrides) in METHODS.items():
    yield method, f'{BASE}:encoder={encoder}', {**SHARED, **overrides}
