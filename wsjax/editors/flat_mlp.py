"""MLP from all weights in a row to all: the baseline without symmetry."""

from typing import ClassVar

import flax.linen as nn

from wsjax import config, typing
from wsjax.models import model as model_lib
from wsjax.tokens import layout


class FlatMlp(config.Section, nn.Module):
  """Hidden layers on the flattened weights, and one output per weight.

  Attributes:
    architecture: model whose weights are edited.
    hidden: widths of the hidden layers.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ()

  architecture: model_lib.Model
  hidden: tuple[config.PositiveInt, ...] = (512, 512)

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Updates of the weights of one network, path by path."""
    spec = self.architecture.spec
    x = layout.flatten(params, spec)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return layout.unflatten(nn.Dense(spec.num_params)(x), spec)
