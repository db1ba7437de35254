"""Editor of equivariant linear layers between all sets of neurons.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from typing import ClassVar

import flax.linen as nn

from wsjax import config, typing
from wsjax.layers import slots, spec_layers
from wsjax.models import model as model_lib


class NeuralFunctional(config.Section, nn.Module):
  """Equivariant map from the weights of one network to updates of them.

  Attributes:
    architecture: model whose weights are edited.
    channels: width of every slot of the hidden state.
    depth: number of linear layers before the last.
    fourier: learned frequencies at which each weight is read besides its value; 0 for none.
    max_folded: most pinned weights that share channels; see `slots.views`.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  architecture: model_lib.Model
  channels: config.PositiveInt = 32
  depth: config.NonNegativeInt = 3
  fourier: config.NonNegativeInt = 0
  max_folded: config.PositiveInt = 64

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Updates of the weights of one network, path by path."""
    spec = self.architecture.spec
    state = spec_layers.SlotStack(
      spec, self.channels, self.depth, self.fourier, self.max_folded, name='stack'
    )(params)
    names = {' '.join(labels): labels for labels in state}
    views = slots.views(spec, self.max_folded)
    values = spec_layers.SlotLinear(
      tuple(names.items()), tuple((view.path, view.labels, view.folded) for view in views)
    )({name: state[labels] for name, labels in names.items()})
    return {
      view.path: slots.join(values[view.path], view, leaf.shape)[..., 0]
      for view, leaf in zip(views, spec.leaves, strict=True)
    }
