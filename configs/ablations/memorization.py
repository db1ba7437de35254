r"""Four published recipes, one memorization harness.

  wsjax sweep --config configs/ablations/memorization.py --workdir runs/memory

What each arm is, and what was measured, is told in `configs/memorization.py`.

Hardware: 2 CPU cores.
Time: told there.
Measured: told there.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/memorization.py'
METHODS = ('p_diff', 'hyper_representations', 'g_pt', 'deep_weight_flow')


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 4 arms."""
  for method in METHODS:
    yield method, f'{BASE}:method={method}', {}
