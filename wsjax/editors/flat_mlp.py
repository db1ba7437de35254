"""An MLP from all weights in a row to all: the control without symmetry."""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


class Editor(nn.Module):
  """Hidden layers on the flattened weights, and one output per weight.

  Attributes:
    spec: the architecture.
    hidden: widths of the hidden layers.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ()

  spec: spec_lib.Spec
  hidden: Sequence[int] = (512, 512)

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Weights of one network -> as many numbers, path by path."""
    x = layout.flatten(params, self.spec)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return layout.unflatten(nn.Dense(self.spec.num_params)(x), self.spec)


def make(architecture: model_lib.Model, *, hidden: tuple[int, ...] = (512, 512)) -> Editor:
  """The editor for one architecture; see `Editor`."""
  return Editor(architecture.spec, tuple(hidden))
