"""Chunks of fixed length; no chunk holds weights of two leaves.

Source: Peebles et al. 2022, arXiv:2209.12892 (per-layer chunks as tokens).
"""

import dataclasses

import numpy as np

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Chunks(layout.Tokenizer):
  """Tokenizer of chunks, [T, length], the last of each leaf padded.

  Attributes:
    length: weights per token.
  """

  length: int

  def table(self, spec: spec_lib.Spec) -> np.ndarray:
    """[T, length] every leaf raveled and cut; -1 = padding."""
    rows = []
    for indices in layout.leaf_indices(spec).values():
      flat = indices.ravel()
      padded = np.pad(flat, (0, -len(flat) % self.length), constant_values=-1)
      rows.append(padded.reshape(-1, self.length))
    return np.concatenate(rows)


def make(length: int = 64) -> Chunks:
  """The chunk tokenizer.

  Args:
    length: weights per token.

  Raises:
    ValueError: if length < 1.
  """
  if length < 1:
    raise ValueError(f'Chunks have length {length}, not >= 1.')
  return Chunks(length)
