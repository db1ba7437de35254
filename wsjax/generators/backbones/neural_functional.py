"""A residual network of equivariant linear maps between sets of weights.

All that is pinned, pixels and classes, is channels, so a network with one hidden layer has as many
places as hidden units: far fewer than the graph has edges, and no loss for it.

Source: Zhou et al. 2024, arXiv:2402.05232 (equivariant linear maps for any architecture).
"""

from typing import Annotated, ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators.parts import slot_net, time_condition, unit_slots
from wsjax.models import model as model_lib
from wsjax.tokens import flat, layout


class NeuralFunctional(config.Section, nn.Module):
  """Slots in, slots out; time and condition are added in each block.

  For flat tokens that no codec has changed. The input is added to the output, each channel with a
  factor that depends on the time.

  Attributes:
    architecture: of the generated networks.
    width: of every slot.
    depth: number of blocks.
    dropout: rate in every block in training.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  architecture: Annotated[model_lib.Model, config.Plugin('models')]
  width: config.PositiveInt = 256
  depth: config.NonNegativeInt = 3
  dropout: config.Rate = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '1 d'],
    t: Float[Array, ''],
    condition: Float[Array, ' c'] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, '1 d']:
    """Predicts the field at flat tokens x, time t in [0, 1] and a condition.

    Raises:
      ValueError: if `x` are not the flat tokens of a network of the architecture.
    """
    spec = self.architecture.spec
    given = time_condition.features(t, condition, self.width)
    params = flat.Flat().detokenize(x, spec)
    slots = unit_slots.read(params, spec)
    out = slot_net.SlotNet(unit_slots.channels(spec), self.width, self.depth, self.dropout)(
      slots, given, train=train
    )
    skip = slot_net.Gains(name='skip')(slots, given)
    out = {labels: value + skip[labels] for labels, value in out.items()}
    return layout.flatten(unit_slots.write(out, spec), spec)[None]
