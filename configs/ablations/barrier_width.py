"""How the barrier between matched networks depends on their width.

  wsjax sweep --config configs/ablations/barrier_width.py --workdir runs/barrier_width

Networks 64-n-10 of digits, 32 for each of seven widths, all trained alike. Entezari et al. 2022,
arXiv:2110.06296, conjecture that barriers vanish after matching, for networks wide enough.

Hardware: 2 CPU cores shared with other work.
Time: 1 to 5 min per width.
Measured: results/barrier_width.json.
"""

from collections.abc import Iterator
from typing import Any

WIDTHS = (4, 8, 16, 32, 64, 128, 256)


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): one method per width."""
  for width in WIDTHS:
    yield (
      f'{width} units',
      'configs/geometry.py',
      {
        'zoo.architecture.widths': (64, width, 10), 'zoo.splits.train': 32,
        'geometry.num_networks': 32, 'geometry.dims': (), 'train.seeds': (0,),
      },
    )  # fmt: skip
