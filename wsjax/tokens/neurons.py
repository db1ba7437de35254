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

    Raises:
      ValueError: if the parameters of a layer end in axes of different length.
    """
    indices = layout.leaf_indices(spec)
    tables = []
    for name, leaves in layout.layers(spec).items():
      sizes = {leaf.shape[-1] for leaf in leaves}
      if len(sizes) != 1:
        raise ValueError(
          f'Layer {name!r} has parameters of {sorted(sizes)} neurons; a token per neuron needs all '
          'parameters of a layer to end in the same axis.'
        )
      columns = [indices[leaf.path].reshape(-1, leaf.shape[-1]) for leaf in leaves]
      tables.append(np.concatenate(columns).T)
    widest = max(table.shape[1] for table in tables)
    pads = [((0, 0), (0, widest - table.shape[1])) for table in tables]
    return np.concatenate(
      [np.pad(table, pad, constant_values=-1) for table, pad in zip(tables, pads, strict=True)]
    )
