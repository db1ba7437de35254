"""One token: all weights in the order of the spec."""

import dataclasses

import numpy as np
from jaxtyping import Int

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Flat(layout.Tokenizer):
  """Tokenizer of one token."""

  def table(self, spec: spec_lib.Spec) -> Int[np.ndarray, '1 params']:
    """Every index in order."""
    return np.arange(spec.num_params)[None]
