"""SIREN: an image, or another signal, as a small network of sines.

Source: Sitzmann et al. 2020, arXiv:2006.09661: layers sin(omega (W x + b)), and the initialisation
of section 3.2.
"""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import sine, typing
from wsjax.models import mlp
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib


@dataclasses.dataclass(frozen=True)
class SIREN(config_lib.Section, model_lib.Model):
  """A SIREN from coordinates [b, d] to values; parameters are 'layer0/kernel', 'layer0/bias', ...

  A hidden unit may be moved, negated, or shifted by a half period, pi / omega.

  Attributes:
    widths: units of every layer, input and output included.
    omega: frequency factor, radians per unit of pre-activation.

  Raises:
    ValueError: for fewer than three widths or omega <= 0.
  """

  widths: tuple[config_lib.PositiveInt, ...] = (2, 32, 32, 1)
  omega: config_lib.PositiveFloat = 30.0

  activation: ClassVar[str] = 'sine'
  task: ClassVar[str] = 'image_fitting'

  def __post_init__(self) -> None:
    super().__post_init__()
    if len(self.widths) < 3:
      raise ValueError(f'A SIREN needs a hidden layer; got widths {self.widths}.')

  @functools.cached_property
  def spec(self) -> spec_lib.Spec:
    """Reordering, signs and phase shifts of hidden units."""
    return mlp.dense_spec(self.widths, spec_lib.ACTIVATION_KINDS['sine'], math.pi / self.omega)

  @property
  def input_shape(self) -> tuple[int, ...]:
    """(number of coordinates,)."""
    return self.widths[:1]

  def init(self, key: jax.Array) -> typing.Params:
    """Draws weights uniformly, so that every layer's phases have unit scale."""
    # A uniform distribution on +-bound has the deviation bound / sqrt(3).
    stds = {}
    for i, fan_in in enumerate(self.widths[:-1]):
      bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / self.omega
      stds[f'layer{i}/kernel'] = bound / math.sqrt(3)
      stds[f'layer{i}/bias'] = fan_in**-0.5 / math.sqrt(3)
    return mlp.draw_params(key, self.spec, stds, 'uniform')

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b d'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b k'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; it has no dropout."""
    del dropout
    omega = jnp.float32(self.omega)
    return mlp.dense_forward(
      params, inputs, len(self.widths) - 1, lambda x, _: sine.sine(omega * x)
    )
