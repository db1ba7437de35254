"""MLP on all weights in a row: the baseline without symmetry."""

import flax.linen as nn
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.tokens import layout


class FlatMlp(encoder.Encoder):
  """Hidden layers on the flattened weights.

  Attributes:
    hidden: widths of the hidden layers; dropout follows each of them.
  """

  hidden: tuple[config.PositiveInt, ...] = (512, 512)

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Outputs of the last hidden layer."""
    x = layout.flatten(params, self.architecture.spec)
    for number, width in enumerate(self.hidden):
      if number:
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
      x = nn.relu(nn.Dense(width)(x))
    return x
