"""One token per neuron: its incoming weights, and its bias.

Source: Schurholt et al. 2022, arXiv:2209.14733 (tokens of neurons).
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Neurons(layout.Tokenizer):
  """Tokenizer of neurons, as wide as the widest layer: incoming weights, then bias."""

  def table(self, spec: spec_lib.Spec) -> Int[np.ndarray, 't d']:
    """One row per neuron of every layer; -1 = padding.

    Parameters of a layer that end in axes of different length, as those of convolutions of other
    libraries do, have tokens of their own.
    """
    indices = layout.leaf_indices(spec)
    tables = []
    for leaves in layout.layers(spec).values():
      columns: dict[int, list[np.ndarray]] = {}
      for leaf in leaves:
        size = leaf.shape[-1] if leaf.shape else 1
        columns.setdefault(size, []).append(indices[leaf.path].reshape(-1, size))
      tables += [np.concatenate(parts).T for parts in columns.values()]
    widest = max(table.shape[1] for table in tables)
    pads = [((0, 0), (0, widest - table.shape[1])) for table in tables]
    return np.concatenate(
      [np.pad(table, pad, constant_values=-1) for table, pad in zip(tables, pads, strict=True)]
    )
