"""How wide a flow must be to copy 100 networks: the published curve.

  wsjax sweep --config configs/ablations/width.py --workdir runs/width

`configs/mnist_dwf.py` at four widths, with and without alignment, three training seeds each, on
100 networks of one zoo of 1,200, which is also the zoo `mnist` of `configs/hypernetwork.py`; then
on Fashion-MNIST with networks 784-128-128-10. Source: Gupta et al. 2026, arXiv:2601.05052.

Hardware: 2 CPU cores shared with other work.
Time: MNIST 25 min for all methods with --jobs 2 and the zoo at hand. Fashion-MNIST 16 min for the
zoo and 1 min for a generator; the evaluation of one with all baselines did not end in 40 min.
Measured: results/width.json and results/width_fashion.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/mnist_dwf.py'
WIDTHS = (64, 128, 256, 512)
ALIGNED = {'aligned': 'permutation', 'raw': 'none'}
# Data set -> start of the names of its runs, what its methods share.
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
  """Yields (run name, config, overrides): 16 methods."""
  for dataset, (start, shared) in DATASETS.items():
    for width in WIDTHS:
      for name, canonicalize in ALIGNED.items():
        arg = f'dataset={dataset},width={width},canonicalize={canonicalize}'
        yield f'{start}{name}_{width}', f'{BASE}:{arg}', shared
