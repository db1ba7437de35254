r"""How many networks does a reader need? The learning curve of the accuracy.

  wsjax sweep --config configs/ablations/zoo_size.py --workdir runs/size

The encoder that reads the accuracy of a CNN best, trained on 250 to 4,000 of
the same zoo.

Hardware: 2 CPU cores, shared with other jobs.
Time: 28 to 44 s of training per seed; 10 min in all.
Measured: Kendall's tau of the accuracy of 1,000 test networks, 3 seeds, 95 %
intervals; 1,000 steps whatever the number of networks.

    250  0.708 [0.691, 0.724]
    500  0.723 [0.705, 0.740]
  1,000  0.750 [0.735, 0.765]
  2,000  0.785 [0.773, 0.797]
  4,000  0.806 [0.795, 0.816]

From 1,000 on, tau grows by 0.028 per doubling. If that held, 0.94 would take
110,000 networks, far beyond the data. More training helps too: one run with
twice the probes, 2,500 steps and dropout had 0.826 on the same 4,000 (1 seed).
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
