"""Editor of equivariant linear layers between all sets of units.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from typing import ClassVar

import flax.linen as nn

from wsjax import typing
from wsjax.encoders import neural_functional
from wsjax.layers import slots as slots_lib
from wsjax.layers import spec_layers
from wsjax.models import model as model_lib


class Editor(nn.Module):
  """An equivariant map from the weights of one network to others.

  Attributes:
    stack: the equivariant part.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  stack: neural_functional.Stack

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Weights of one network -> as many numbers, path by path."""
    spec = self.stack.spec
    state = self.stack(params)
    names = {' '.join(labels): labels for labels in state}
    views = slots_lib.views(spec, self.stack.max_folded)
    values = spec_layers.SlotLinear(
      tuple(names.items()), tuple((view.path, view.labels, view.folded) for view in views)
    )({name: state[labels] for name, labels in names.items()})
    return {
      view.path: slots_lib.join(values[view.path], view, leaf.shape)[..., 0]
      for view, leaf in zip(views, spec.leaves, strict=True)
    }


def make(
  architecture: model_lib.Model,
  *,
  channels: int = 32,
  depth: int = 3,
  fourier: int = 0,
  max_folded: int = 64,
) -> Editor:
  """The editor for one architecture; see `neural_functional.Stack`."""
  return Editor(neural_functional.Stack(architecture.spec, channels, depth, fourier, max_folded))
