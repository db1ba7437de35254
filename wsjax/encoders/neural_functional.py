"""Neural functional: equivariant linear layers and non-linearities in turn.

Source: Zhou et al. 2023, arXiv:2302.14040 (NFN); Navon et al. 2023, arXiv:2301.12780 (DWSNets);
Zhou et al. 2024, arXiv:2402.05232 (any spec).
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import typing
from wsjax.encoders import encoder
from wsjax.layers import maxima, spec_layers


class NeuralFunctional(spec_layers.SlotOptions, encoder.Encoder):
  """Mean and maximum over the neurons of every slot, behind equivariant layers."""

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Pooled slots of the weights of one network."""
    del train
    parts = []
    for value in self.stack()(params).values():
      axes = tuple(range(value.ndim - 1))
      parts += [value.mean(axes), maxima.over(value, axes)] if axes else [value]
    return jnp.concatenate(parts)
