"""Neural functional: equivariant linear layers and non-linearities in turn.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Navon et al. 2023, arXiv:2301.12780 (DWSNets);
Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.layers import maxima, spec_layers


class NeuralFunctional(encoder.Encoder):
  """Mean and maximum over the neurons of every slot, behind equivariant layers.

  Attributes:
    channels: width of every slot of the hidden state.
    depth: number of linear layers.
    fourier: learned frequencies at which each weight is read besides its value; 0 for none.
    max_folded: most pinned weights that share channels; see `slots.views`.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  channels: config.PositiveInt = 64
  depth: config.NonNegativeInt = 3
  fourier: config.NonNegativeInt = 0
  max_folded: config.PositiveInt = 64

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Pooled slots of the weights of one network."""
    del train
    stack = spec_layers.SlotStack(
      self.architecture.spec, self.channels, self.depth, self.fourier, self.max_folded, name='stack'
    )
    parts = []
    for value in stack(params).values():
      axes = tuple(range(value.ndim - 1))
      parts += [value.mean(axes), maxima.over(value, axes)] if axes else [value]
    return jnp.concatenate(parts)
