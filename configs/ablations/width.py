r"""How wide must a flow be to copy 100 networks? The published curve.

  wsjax sweep --config configs/ablations/width.py --workdir runs/width

`configs/mnist_dwf.py` at four widths, with and without alignment, three
training seeds each, 100 networks of one zoo of 1,200 that `hypernetwork.py` has
as its rig `mnist`, too. Source: Gupta et al. 2026, arXiv:2601.05052.

Published, with and without alignment: width 64: 57.8 +- 9.9 and 25.5 +- 12.9;
width 512: 96.17 +- 0.31 and 96.19 +- 0.27; zoo 96.32 +- 0.20.

Hardware: 2 CPU cores.
Time: to be measured.
Measured: not yet as a whole.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/mnist_dwf.py'
WIDTHS = (64, 128, 256, 512)
ALIGNED = {'aligned': 'permutation', 'raw': 'none'}
SHARED = {
  'zoo.path': 'runs/zoos/mnist_784_32_32_10',
  'zoo.splits.train': 1_000,
  'zoo.splits.test': 128,
  'zoo.splits.holdout_audit': 72,
  'strategy.num_train': 100,
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 8 arms."""
  for width in WIDTHS:
    for name, canonicalize in ALIGNED.items():
      arg = f'width={width},canonicalize={canonicalize}'
      yield f'{name}_{width}', f'{BASE}:{arg}', SHARED
