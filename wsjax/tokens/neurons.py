"""One token per unit: the weights that feed it, and its bias.

Source: Schurholt et al. 2022, arXiv:2209.14733 (tokens of neurons).
"""

import dataclasses

import numpy as np

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Neurons(layout.Tokenizer):
  """Tokenizer of units, [T, widest layer]: incoming weights, then bias.

  Units that may be reordered give tokens whose rows are reordered alike.
  """

  def table(self, spec: spec_lib.Spec) -> np.ndarray:
    """[T, D] one row per unit of every layer; -1 = padding.

    Raises:
      ValueError: if the leaves of a layer end in axes of different length.
    """
    indices = layout.leaf_indices(spec)
    rows = []
    for name, leaves in layout.layers(spec).items():
      units = {leaf.shape[-1] for leaf in leaves}
      if len(units) != 1:
        raise ValueError(
          f'Layer {name!r} has leaves of {sorted(units)} units; one token per '
          'unit needs all leaves of a layer to end in the same axis.'
        )
      columns = [indices[leaf.path].reshape(-1, leaf.shape[-1]) for leaf in leaves]
      rows += list(np.concatenate(columns).T)
    return layout.stack_rows(rows)


def make() -> Neurons:
  """The neuron tokenizer."""
  return Neurons()
