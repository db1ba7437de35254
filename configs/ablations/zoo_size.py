r"""How many networks does a reader need? The learning curve of the accuracy.

  wsjax sweep --config configs/ablations/zoo_size.py --workdir runs/size

The encoder that reads the accuracy of a CNN best, trained on 250 to 4,000 of
the same zoo.

Hardware: 2 CPU cores.
Time: not measured yet.
Measured: not yet.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=probed_graph'
ARMS = (250, 500, 1_000, 2_000, 4_000)
# All arms read one zoo; the first one breeds it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms."""
  for arm in ARMS:
    yield f'{arm}', BASE, {**SHARED, 'predict.num_train': arm}
