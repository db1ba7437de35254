"""One token per module: both factors of an adapter, or kernel and bias of a layer.

Source: Liang et al. 2025 (Drag-and-Drop LLMs), arXiv:2506.16406: adapters as tokens per layer and
  module.
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class LoRA(layout.Tokenizer):
  """Tokenizer of modules, padded to the largest.

  A module is the path in front of '/lora_A' or '/lora_B', and of a parameter that is no factor the
  path up to the last slash. For adapters, canonicalize first: see `models.lora.canonicalize`.
  """

  def table(self, spec: spec_lib.Spec) -> Int[np.ndarray, 't d']:
    """The parameters of each module, raveled one after another; -1 = padding."""
    modules: dict[str, list[np.ndarray]] = {}
    for path, indices in layout.leaf_indices(spec).items():
      module = path.rpartition('/lora_')[0] or path.rpartition('/')[0]
      modules.setdefault(module, []).append(indices.ravel())
    rows = [np.concatenate(parts) for parts in modules.values()]
    width = max(map(len, rows))
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=-1) for row in rows])
