"""SIREN: an image, or another signal, as a small network of sines.

Source: Sitzmann et al. 2020, arXiv:2006.09661: layers sin(omega (W x + b)), and the initialisation
of section 3.2.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.models import architecture
from wsjax.symmetry import spec as spec_lib

# pi in two parts; the first has few digits, so that its product with a small integer is exact. Then
# coefficients of sin on [-pi/2, pi/2], highest first.
_PI_PARTS = (3.140625, 9.6765358979e-4)
_COEFFICIENTS = (-2.3889859e-08, 2.7525562e-06, -0.00019840874, 0.0083333310, -0.16666667)


def make(
  widths: tuple[int, ...] = (2, 32, 32, 1), omega: float = 30.0
) -> architecture.Architecture:
  """A SIREN from coordinates to values.

  Args:
    widths: units of every layer, input and output included.
    omega: frequency factor, radians per unit of pre-activation.

  Returns:
    The architecture; `apply` takes coordinates [b, d]. A hidden unit may be moved, negated, or
    shifted by half a turn, pi / omega.

  Raises:
    ValueError: for fewer than three widths or omega <= 0.
  """
  widths = tuple(int(width) for width in widths)
  if len(widths) < 3 or omega <= 0:
    raise ValueError(f'A SIREN needs a hidden layer and omega > 0; got {widths}, {omega}.')
  depth = len(widths) - 1
  ids = [None, *(f'hidden{i}' for i in range(depth - 1)), None]
  kinds = spec_lib.ACTIVATION_KINDS['sine']
  groups = tuple(
    spec_lib.Group(ids[i], widths[i], kinds, half_turn=math.pi / omega) for i in range(1, depth)
  )
  leaves = tuple(
    leaf
    for i in range(depth)
    for leaf in spec_lib.dense(
      f'layer{i}', widths[i], widths[i + 1], reads=ids[i], feeds=ids[i + 1]
    )
  )
  spec = spec_lib.Spec(groups, leaves)

  # A uniform distribution on +-bound has the deviation bound / sqrt(3).
  stds = {}
  for i, fan_in in enumerate(widths[:-1]):
    bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / omega
    stds[f'layer{i}/kernel'] = bound / math.sqrt(3)
    stds[f'layer{i}/bias'] = fan_in**-0.5 / math.sqrt(3)

  def forward(
    params: typing.Params, inputs: typing.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    x = inputs.reshape(inputs.shape[0], -1).T  # Features first: see mlp.py.
    hidden = {}
    for i in range(depth):
      x = params[f'layer{i}/kernel'].T @ x + params[f'layer{i}/bias'][:, None]
      if i < depth - 1:
        x = sine(jnp.float32(omega) * x)
        hidden[ids[i + 1]] = x.T
    return x.T, hidden

  return architecture.Architecture(
    name='siren',
    config={'widths': list(widths), 'omega': float(omega)},
    spec=spec,
    init=lambda key: architecture.draw_params(key, spec, stds, 'uniform'),
    apply=lambda *args: forward(*args)[0],
    forward=forward,
    activation='sine',
    task='image_fitting',
  )


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
