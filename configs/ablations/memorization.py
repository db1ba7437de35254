"""Four published recipes, compared by one protocol for memorization.

  wsjax sweep --config configs/ablations/memorization.py --workdir runs/memorization

The methods are explained in `configs/memorization.py`.

Hardware: 2 CPU cores shared with three other jobs.
Time: 45 min in all; see `configs/memorization.py`.
Measured: results/memorization.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/memorization.py'
METHODS = ('p_diff', 'hyper_representations', 'g_pt', 'deep_weight_flow')


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 4 methods."""
  for method in METHODS:
    yield method, f'{BASE}:method={method}', {}
