"""One token: all weights in the order of the spec."""

import dataclasses

import numpy as np

from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


@dataclasses.dataclass(frozen=True)
class Flat(layout.Tokenizer):
  """Tokenizer of one token, [1, num_params]."""

  def table(self, spec: spec_lib.Spec) -> np.ndarray:
    """[1, num_params] every index in order."""
    return np.arange(spec.num_params)[None]


def make() -> Flat:
  """The flat tokenizer."""
  return Flat()
