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
import numpy as np
from jaxtyping import Array, Float

from wsjax import typing
from wsjax.models import mlp, parts
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

# pi in two parts; the first has few digits, so that its product with a small integer is exact. Then
# coefficients of sin on [-pi/2, pi/2], highest first.
_PI_PARTS = (3.140625, 9.6765358979e-4)
_COEFFICIENTS = (-2.3889859e-08, 2.7525562e-06, -0.00019840874, 0.0083333310, -0.16666667)


@dataclasses.dataclass(frozen=True)
class SIREN(model_lib.Model):
  """A SIREN from coordinates [b, d] to values; parameters are 'layer0/kernel', 'layer0/bias', ...

  A hidden unit may be moved, negated, or shifted by a half period, pi / omega.

  Attributes:
    widths: units of every layer, input and output included.
    omega: frequency factor, radians per unit of pre-activation.

  Raises:
    ValueError: for fewer than three widths or omega <= 0.
  """

  widths: tuple[int, ...] = (2, 32, 32, 1)
  omega: float = 30.0

  activation: ClassVar[str] = 'sine'
  task: ClassVar[str] = 'image_fitting'

  def __post_init__(self) -> None:
    object.__setattr__(self, 'widths', tuple(int(width) for width in self.widths))
    object.__setattr__(self, 'omega', float(self.omega))
    if len(self.widths) < 3 or not self.omega > 0:
      raise ValueError(
        f'A SIREN needs a hidden layer and omega > 0; got {self.widths}, {self.omega}.'
      )

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
    return parts.draw_params(key, self.spec, stds, 'uniform')

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b d'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b k'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; it has no dropout."""
    del dropout
    x = inputs.reshape(inputs.shape[0], -1).T  # Features first: see mlp.py.
    hidden = {}
    depth = len(self.widths) - 1
    for i in range(depth):
      x = params[f'layer{i}/kernel'].T @ x + params[f'layer{i}/bias'][:, None]
      if i < depth - 1:
        x = sine(jnp.float32(self.omega) * x)
        hidden[f'hidden{i}'] = x.T
    return x.T, hidden


@jax.custom_jvp
def sine(x: jax.Array) -> jax.Array:
  """Sine in float32, fast on CPU.

  XLA's sine does not vectorise there and takes most of a SIREN's time; this one is a range
  reduction and an odd polynomial of degree 11.

  Args:
    x: radians; on CPU the absolute error of the value and of the derivative is below 2e-7 for |x|
      <= 1e4.

  Returns:
    sin(x).
  """
  return jax.lax.platform_dependent(x, cpu=_polynomial_sine, default=jnp.sin)


@sine.defjvp
def _sine_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
  (x,), (dx,) = primals, tangents
  slope = jax.lax.platform_dependent(x, cpu=_polynomial_cosine, default=jnp.cos)
  return sine(x), slope * dx


def _polynomial_sine(x: jax.Array) -> jax.Array:
  """sin(k pi + r) = (-1)^k sin(r), with k the nearest integer to x / pi."""
  k = jnp.round(x * np.float32(1 / math.pi))
  value = _sine_near_zero(_subtract_turns(x, k))
  return jnp.where((k.astype(jnp.int32) & 1) == 1, -value, value)


def _polynomial_cosine(x: jax.Array) -> jax.Array:
  """cos((k + 1/2) pi + r) = -(-1)^k sin(r)."""
  k = jnp.round(x * np.float32(1 / math.pi) - np.float32(0.5))
  value = _sine_near_zero(_subtract_turns(x, k + np.float32(0.5)))
  return jnp.where((k.astype(jnp.int32) & 1) == 1, value, -value)


def _subtract_turns(x: jax.Array, half_turns: jax.Array) -> jax.Array:
  """x - half_turns * pi, in two steps so that no digits are lost."""
  x = x - half_turns * np.float32(_PI_PARTS[0])
  return x - half_turns * np.float32(_PI_PARTS[1])


def _sine_near_zero(r: jax.Array) -> jax.Array:
  """Polynomial of degree 11 for sin on [-pi/2, pi/2], by Horner's rule."""
  square = r * r
  value = jnp.zeros_like(r)
  for coefficient in _COEFFICIENTS:
    value = (value + np.float32(coefficient)) * square
  return r * (1 + value)
