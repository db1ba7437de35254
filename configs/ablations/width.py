r"""How wide must a flow be to copy 100 networks? The published curve.

  wsjax sweep --config configs/ablations/width.py --workdir runs/width

`configs/mnist_dwf.py` at four widths, with and without alignment, three
training seeds each, 100 networks of one zoo of 1,200 that `hypernetwork.py` has
as its rig `mnist`, too; then the same on Fashion-MNIST with networks
784-128-128-10. Source: Gupta et al. 2026, arXiv:2601.05052.

Published, with and without alignment: width 64: 57.8 +- 9.9 and 25.5 +- 12.9;
width 512: 96.17 +- 0.31 and 96.19 +- 0.27; zoo 96.32 +- 0.20. Fashion-MNIST,
width 64: 77.8 +- 3.7 and 53.4 +- 30.5.

Hardware: 2 CPU cores shared with other work.
Time: MNIST 25 min for all arms with --jobs 2 and the zoo at hand. Fashion-MNIST
16 min for the zoo and 1 min for a generator; judging one did not end in 40 min
beside other work, since matching two networks takes 90 ms of CPU.
Measured: MNIST, 100 networks per seed, 3 training seeds, one zoo (96.2 %); 95 %
intervals; distance to the nearest of the 100 in tau. G, G1/2 and G_b are 0 of
300 [0, 1.2] in every arm.

  width  aligned                   copies          raw                copies
  64     58.8 [57.4, 60.1]  0.72     0             20.5 [19.3, 21.6]    0
  128    83.7 [81.7, 85.7]  0.19    32 [27, 38]    71.8 [68.3, 75.3]   28
  256    95.9 [95.2, 96.3]  0.040   96 [94, 98]    95.4 [94.5, 96.0]   92
  512    96.2 [95.9, 96.5]  0.023  100 [99, 100]   96.1 [95.8, 96.4]  99.7

Fashion-MNIST, by a script that calls the same stages, but not the panel:
accuracy of 100 networks per seed (zoo 87.4 %), 95 % intervals over seeds and
networks; distance and copies of the first 32 per seed, each matched with its
two nearest:

  64     79.8 [79.2, 80.4]  0.72     0 [0, 4]      27.2 [25.9, 28.5]    0
  128    84.3 [83.6, 85.1]  0.22    28 [19, 38]    67.0 [63.5, 70.4]   30
  256    87.3 [87.1, 87.3]  0.038   96 [90, 99]    86.6 [86.0, 87.2]   94
  512    87.3 [87.3, 87.4]  0.022  100 [96, 100]   87.4 [87.3, 87.4]   99

So the curve is reproduced, and it is one from averaging (0.71 of the spread of
the zoo at width 64) to copying; alignment matters as long as networks are
blended, and copies need none.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/mnist_dwf.py'
WIDTHS = (64, 128, 256, 512)
ALIGNED = {'aligned': 'permutation', 'raw': 'none'}
# Data set -> start of the names of its runs, what its arms share.
DATASETS = {
  'mnist': (
    '',
    {
      'zoo.path': 'runs/zoos/mnist_784_32_32_10',
      'zoo.splits.train': 1_000,
      'zoo.splits.test': 128,
      'zoo.splits.holdout_audit': 72,
      'strategy.num_train': 100,
    },
  ),
  'fashion_mnist': (
    'fashion_',
    {
      'zoo.path': 'runs/zoos/fashion_mnist_784_128_128_10',
      # Matching takes most of the time.
      'evaluate.num_samples': 32,
    },
  ),
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 16 arms."""
  for dataset, (start, shared) in DATASETS.items():
    for width in WIDTHS:
      for name, canonicalize in ALIGNED.items():
        arg = f'dataset={dataset},width={width},canonicalize={canonicalize}'
        yield f'{start}{name}_{width}', f'{BASE}:{arg}', shared
