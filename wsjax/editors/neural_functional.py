"""Editor of equivariant linear layers between all sets of neurons.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from typing import ClassVar

import flax.linen as nn

from wsjax import config, typing
from wsjax.layers import slots, spec_layers


class NeuralFunctional(spec_layers.SlotOptions):
  """Equivariant map from the weights of one network to updates; the last layer is one more."""

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  channels: config.PositiveInt = 32

  @nn.compact
  def __call__(self, params: typing.Params) -> typing.Params:
    """Updates of the weights of one network, path by path."""
    spec = self.architecture.spec
    state = self.stack()(params)
    names = {' '.join(labels): labels for labels in state}
    views = slots.views(spec, self.max_folded)
    values = spec_layers.SlotLinear(
      tuple(names.items()), tuple((view.path, view.labels, view.folded) for view in views)
    )({name: state[labels] for name, labels in names.items()})
    return {
      view.path: slots.join(values[view.path], view, leaf.shape)[..., 0]
      for view, leaf in zip(views, spec.leaves, strict=True)
    }
