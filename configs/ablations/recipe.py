r"""What do weights tell about their recipe? One factor per arm.

  wsjax sweep --config configs/ablations/recipe.py --workdir runs/recipe

The neural functional reads every factor of the recipe of a CNN from its final
weights: the class of the optimizer, and seven numbers.

Hardware: 2 CPU cores, shared with other jobs.
Time: 6 to 14 s of training per seed; 6 min in all.
Measured: 1,000 test networks, 3 seeds, 95 % intervals. The optimizer of three
at 80.8 % [78.2, 83.3], of which the best constant has 31.1 %. Kendall's tau and
R2 of numbers (rates, fractions and scales as logarithms):

  learning_rate   0.808 [0.795, 0.821]   0.90
  init_scale      0.700 [0.678, 0.720]   0.76
  train_fraction  0.554 [0.528, 0.580]   0.56
  dropout         0.508 [0.475, 0.535]   0.46
  label_noise     0.343 [0.305, 0.378]   0.19
  input_noise     0.221 [0.186, 0.257]  -0.02
  weight_decay    0.161 [0.123, 0.199]  -0.09

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
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 8 arms."""
  for arm in ARMS:
    yield arm, f'{BASE}:target={arm},encoder=neural_functional', SHARED
