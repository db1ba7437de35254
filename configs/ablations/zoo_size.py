r"""How many networks does a reader need? The learning curve of the accuracy.

  wsjax sweep --config configs/ablations/zoo_size.py --workdir runs/size

The encoder that reads the accuracy of a CNN best, trained on 250 to 4,000 of
the same zoo.

Hardware: 2 CPU cores.
Time: 14 to 19 s of training per seed; 5 min in all.
Measured: Kendall's tau of the accuracy of 1,000 test networks, 3 seeds, 95 %
intervals; 1,000 steps whatever the number of networks.

    250  0.710 [0.692, 0.726]
    500  0.726 [0.709, 0.743]
  1,000  0.753 [0.737, 0.767]
  2,000  0.781 [0.769, 0.793]
  4,000  0.806 [0.796, 0.817]

From 1,000 on, tau grows by 0.027 per doubling. If that held, 0.94 would take
120,000 networks, far beyond the data.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=probed_graph'
ARMS = (250, 500, 1_000, 2_000, 4_000)
# All arms read one zoo; the first one trains it.
SHARED = {'zoo.path': 'runs/zoos/cnn_digits', 'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms."""
  for arm in ARMS:
    yield f'{arm}', BASE, {**SHARED, 'property.num_train': arm}
