"""A residual network of equivariant linear maps between sets of weights.

Source: Zhou et al. 2024, arXiv:2402.05232 (equivariant linear maps for any architecture).
"""

from typing import Annotated, ClassVar

import flax.linen as nn

from wsjax import config
from wsjax.generators import backbones
from wsjax.generators.backbones import Condition, Time, Tokens
from wsjax.generators.parts import unit_slots
from wsjax.models import model as model_lib


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
  def __call__(self, x: Tokens, t: Time, condition: Condition = None, *, train=False) -> Tokens:
    """Predicts the field at flat tokens x, time t in [0, 1] and a condition.

    Raises:
      ValueError: if `x` are not the flat tokens of a network of the architecture.
    """
    spec = self.architecture.spec
    given = backbones.features(t, condition, self.width)
    slots = unit_slots.of_tokens(x, spec)
    net = unit_slots.SlotNet(unit_slots.channels(spec), self.width, self.depth, self.dropout)
    out = net(slots, given, train=train)
    skip = unit_slots.Gains(name='skip')(slots, given)
    return unit_slots.to_tokens({key: out[key] + skip[key] for key in out}, spec)
