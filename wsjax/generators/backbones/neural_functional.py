"""A residual network of equivariant linear maps between sets of weights.

All that is pinned, pixels and classes, is channels, so a network with one hidden layer has as many
places as hidden units: far fewer than the graph has edges, and no loss for it.

Source: Zhou et al. 2024, arXiv:2402.05232 (equivariant linear maps for any architecture).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax

from wsjax import config as config_lib
from wsjax.generators.parts import slot_net, time_condition, unit_slots
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import flat, layout


class NeuralFunctional(nn.Module):
  """Slots in, slots out; time and condition are added in each block.

  Written for one example; the output is zero at initialisation. The input is added to the output,
  each channel with a factor that depends on the time.

  Attributes:
    spec: of the networks that are made.
    width: of every slot.
    depth: number of blocks.
    dropout: share of features dropped while training.
  """

  EQUIVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  spec: spec_lib.Spec
  width: int
  depth: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, x: jax.Array, t: jax.Array, condition: jax.Array | None = None, *, train: bool = False
  ) -> jax.Array:
    """[1, D] field at flat tokens [1, D], time t in [0, 1], condition [C].

    Raises:
      ValueError: if `x` are not the flat tokens of a network of `spec`.
    """
    given = time_condition.features(t, condition, self.width)
    params = flat.make().detokenize(x, self.spec)
    slots = unit_slots.read(params, self.spec)
    out = slot_net.SlotNet(unit_slots.channels(self.spec), self.width, self.depth, self.dropout)(
      slots, given, train=train
    )
    skip = slot_net.Gains(name='skip')(slots, given)
    out = {labels: value + skip[labels] for labels, value in out.items()}
    return layout.flatten(unit_slots.write(out, self.spec), self.spec)[None]


def make(
  architecture: Mapping[str, Any], width: int = 256, depth: int = 3, dropout: float = 0.0
) -> NeuralFunctional:
  """The neural functional, for flat tokens that no codec has changed.

  Args:
    architecture: config section of a plug-in of `zoo.architectures`.
    width: of every slot.
    depth: number of blocks.
    dropout: share of features dropped while training.

  Raises:
    ValueError: if the architecture is unknown.
  """
  spec = config_lib.build('models', architecture).spec
  return NeuralFunctional(spec, width, depth, dropout)
