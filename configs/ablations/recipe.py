"""Which factors of its recipe can be read from the weights of a CNN.

  wsjax sweep --config configs/ablations/recipe.py --workdir runs/recipe

The neural functional reads every factor of the recipe from the final weights: the class of the
optimizer, and seven numbers (rates, fractions and scales as logarithms).

Hardware: 2 CPU cores.
Time: 3 to 6 s of training per seed; 3 min in all.
Measured: results/recipe.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
METHODS = (
  'optimizer', 'learning_rate', 'weight_decay', 'init_scale', 'dropout',
  'train_fraction', 'label_noise', 'input_noise',
)  # fmt: skip
# All methods read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 8 methods."""
  for method in METHODS:
    yield method, f'{BASE}:target={method},encoder=neural_functional', SHARED
