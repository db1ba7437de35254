r"""What do weights tell about their recipe? One factor per arm.

  wsjax sweep --config configs/ablations/recipe.py --workdir runs/recipe

The neural functional reads every factor of the recipe of a CNN from its final
weights: the class of the optimizer, and seven numbers.

Hardware: 2 CPU cores.
Time: 3 to 6 s of training per seed; 3 min in all.
Measured: 1,000 test networks, 3 seeds, 95 % intervals. The optimizer of three
at 81.3 % [79.1, 83.5], of which the best constant has 31.1 %. Kendall's tau and
R2 of numbers (rates, fractions and scales as logarithms):

  learning_rate   0.809 [0.797, 0.822]   0.90
  init_scale      0.703 [0.680, 0.724]   0.76
  train_fraction  0.555 [0.528, 0.580]   0.56
  dropout         0.511 [0.479, 0.539]   0.47
  label_noise     0.345 [0.306, 0.382]   0.19
  input_noise     0.217 [0.179, 0.256]  -0.03
  weight_decay    0.172 [0.134, 0.211]  -0.08

How a network was moved is written in its weights; the augmentation by noise and
a weight decay this small over 200 steps hardly are.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py'
ARMS = (
  'optimizer', 'learning_rate', 'weight_decay', 'init_scale', 'dropout',
  'train_fraction', 'label_noise', 'input_noise',
)  # fmt: skip
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 8 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:target={arm},encoder=neural_functional', SHARED
