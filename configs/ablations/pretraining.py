"""Whether networks without labels help an encoder that has few labelled ones.

  wsjax sweep --config configs/ablations/pretraining.py --workdir runs/pretraining

A token transformer reads the accuracy of a CNN from 250 labelled networks: from scratch, after
contrastive pretraining on random orbit members, and after masked-token pretraining, both on all
4,000 training networks.

Hardware: 2 CPU cores.
Time: 8 s of training per seed, and 7 to 14 s of pretraining; 3 min in all.
Measured: results/pretraining.json.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/cnn_property.py:encoder=token_transformer'
METHODS = {
  'scratch': {},
  'contrastive': {'pretrain.objective': 'contrastive'},
  'masked': {'pretrain.objective': 'masked'},
}
# All methods read one zoo; the first one trains it.
SHARED = {
  'zoo.path': 'runs/zoos/cnn_digits',
  'train.seeds': (0, 1, 2),
  'train.steps': 300,
  'pretrain.steps': 600,
  'property.num_train': 250,
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 3 methods."""
  for method, overrides in METHODS.items():
    yield method, BASE, {**SHARED, **overrides}
