"""Invertible layers on vectors, with log-determinants."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing


def bit_mask(size: int, layer: int) -> np.ndarray:
  """Mask of the coordinates that a coupling layer keeps.

  Two layers in a row keep opposite halves, and every two layers the halves are those of the next
  binary digit of the index. Any two coordinates differ in some digit, so each is transformed given
  every other one, without a permutation that would have to be drawn and stored.

  Args:
    size: number of coordinates D.
    layer: number of the layer, from 0.

  Returns:
    [D] float32; 1 = kept.
  """
  digits = max(int(size - 1).bit_length(), 1)
  digit = (np.arange(size) >> (layer // 2 % digits)) & 1
  return (digit == layer % 2).astype(np.float32)


class Scaling(nn.Module):
  """y = (x - shift) exp(log_scale), learned for each coordinate."""

  size: int

  def setup(self):
    """Starts as the identity."""
    zeros = nn.initializers.zeros
    self.shift = self.param('shift', zeros, (self.size,))
    self.log_scale = self.param('log_scale', zeros, (self.size,))

  def forward(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] y, log |det dy/dx| in nats) of [D] x."""
    del condition
    y = (x - self.shift) * jnp.exp(self.log_scale)
    return y, jnp.sum(self.log_scale)

  def inverse(
    self, y: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] x, log |det dx/dy| in nats) of [D] y."""
    del condition
    x = y * jnp.exp(-self.log_scale) + self.shift
    return x, -jnp.sum(self.log_scale)


class Coupling(nn.Module):
  """Base of couplings: half of the coordinates determine how the other half is transformed.

  A network computes the features by which each coordinate is transformed, from the kept half and
  the condition. They are 0 at initialisation, which must stand for the identity.

  Attributes:
    layer: number of the layer, which decides the halves.
    size: number of coordinates D.
    width: of the hidden layers of the network.
    depth: number of them.
  """

  layer: int
  size: int
  width: int
  depth: int

  @property
  def num_features(self) -> int:
    """Number of features that transform one coordinate."""
    raise NotImplementedError

  def setup(self):
    """Starts as the identity."""
    self.mask = bit_mask(self.size, self.layer)
    self.hidden = [nn.Dense(self.width) for _ in range(self.depth)]
    size = self.num_features * self.size
    self.out = nn.Dense(size, kernel_init=nn.initializers.zeros)

  def features(self, x: jax.Array, condition: jax.Array | None) -> jax.Array:
    """Computes features [num_features, D] from the kept coordinates of x [D] and a condition."""
    kept = x * self.mask
    h = kept if condition is None else jnp.concatenate([kept, condition])
    for dense in self.hidden:
      h = nn.silu(dense(h))
    return self.out(h).reshape(self.num_features, self.size)


class AffineCoupling(Coupling):
  """Half of the coordinates scale and shift the other half.

  Attributes:
    max_log_scale: bound of the logarithm of the scale, so that one layer cannot blow up far from
      the data.

  Source: Dinh et al. 2017, arXiv:1605.08803, section 3.2.
  """

  max_log_scale: float = 2.0

  @property
  def num_features(self) -> int:
    """Logarithm of the scale, and shift."""
    return 2

  def _affine(self, x: jax.Array, condition: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Logarithm of the scale and shift, 0 where coordinates are kept."""
    log_scale, shift = self.features(x, condition)
    bound = self.max_log_scale
    log_scale = bound * jnp.tanh(log_scale / bound)
    return log_scale * (1 - self.mask), shift * (1 - self.mask)

  def forward(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] y, log |det dy/dx| in nats) of [D] x and a condition [C]."""
    log_scale, shift = self._affine(x, condition)
    return x * jnp.exp(log_scale) + shift, jnp.sum(log_scale)

  def inverse(
    self, y: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] x, log |det dx/dy| in nats) of [D] y and a condition [C]."""
    log_scale, shift = self._affine(y, condition)
    return (y - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale)


def forward(
  layers: Sequence[Any], x: typing.PyTree, condition: jax.Array | None
) -> tuple[typing.PyTree, jax.Array]:
  """(noise, log |det| in nats) of data, through invertible layers in turn."""
  total = jnp.zeros(())
  for layer in layers:
    x, log_det = layer.forward(x, condition)
    total += log_det
  return x, total


def inverse(
  layers: Sequence[Any], y: typing.PyTree, condition: jax.Array | None
) -> tuple[typing.PyTree, jax.Array]:
  """(data, log |det| in nats) of noise: `forward` undone."""
  total = jnp.zeros(())
  for layer in reversed(layers):
    y, log_det = layer.inverse(y, condition)
    total += log_det
  return y, total


class Stack(nn.Module):
  """Couplings with a learned scaling before each and after the last.

  `forward` goes from data to noise, `inverse` from noise to data.

  Attributes:
    size: number of coordinates D.
    num_layers: number of couplings.
    make_coupling: the coupling of a layer, from its number.
  """

  size: int
  num_layers: int
  make_coupling: Callable[[int], Coupling]

  def setup(self):
    """Lists the layers from data to noise."""
    layers = []
    for number in range(self.num_layers):
      layers.append(Scaling(self.size))
      layers.append(self.make_coupling(number))
    self.layers = [*layers, Scaling(self.size)]

  def forward(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] noise, log |det| in nats) of [D] data and a condition [C]."""
    return forward(self.layers, x, condition)

  def inverse(
    self, y: jax.Array, condition: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """([D] data, log |det| in nats) of [D] noise and a condition [C]."""
    return inverse(self.layers, y, condition)
