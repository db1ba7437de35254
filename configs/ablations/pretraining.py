r"""Do networks without labels help a reader that has few of them with labels?

  wsjax sweep --config configs/ablations/pretraining.py --workdir runs/pretrain

A token transformer reads the accuracy of a CNN from 250 labelled networks:
from scratch, after contrast of random orbit members, and after filling in
hidden tokens, both on all 4,000 training networks.

Hardware: 2 CPU cores.
Time: not measured yet.
Measured: not yet.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=token_transformer'
ARMS = {
  'scratch': {},
  'contrastive': {'pretrain.objective': 'contrastive'},
  'masked': {'pretrain.objective': 'masked'},
}
# All arms read one zoo; the first one breeds it.
SHARED = {
  'zoo.path': 'runs/zoos/cnn_digits',
  'train.seeds': (0, 1, 2),
  'train.steps': 300,
  'pretrain.steps': 600,
  'predict.num_train': 250,
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 arms."""
  for arm, overrides in ARMS.items():
    yield arm, BASE, {**SHARED, **overrides}
