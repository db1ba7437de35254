"""Chunks of fixed length; no chunk has weights of two parameters.

Source: Peebles et al. 2022, arXiv:2209.12892 (per-layer chunks as tokens).
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from wsjax import config
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Chunks(config.Section, layout.Tokenizer):
  """Tokenizer of chunks of `length` weights, of which the last of each parameter is padded."""

  length: config.PositiveInt = 64

  def table(self, spec: spec_lib.Spec) -> Int[np.ndarray, 't length']:
    """Every parameter raveled and cut; -1 = padding."""
    rows = []
    for indices in layout.leaf_indices(spec).values():
      flat = indices.ravel()
      padded = np.pad(flat, (0, -len(flat) % self.length), constant_values=-1)
      rows.append(padded.reshape(-1, self.length))
    return np.concatenate(rows)
