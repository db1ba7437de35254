"""Invertible layers on vectors, with log-determinants."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing

Given: TypeAlias = jax.Array | None
Moved: TypeAlias = tuple[jax.Array, jax.Array]  # [D], and the log-determinant in nats.


def bit_mask(size: int, layer: int) -> np.ndarray:
  """Mask [size] float32 of the coordinates that a coupling layer keeps; 1 = kept.

  Two layers in a row keep opposite halves, and every two layers the halves are those of the next
  binary digit of the index. Any two coordinates differ in some digit, so each is transformed given
  every other one, without a permutation that would have to be drawn and stored.
  """
  digits = max(int(size - 1).bit_length(), 1)
  digit = (np.arange(size) >> (layer // 2 % digits)) & 1
  return (digit == layer % 2).astype(np.float32)


class Scaling(nn.Module):
  """y = (x - shift) exp(log_scale), learned for each coordinate."""

  size: int

  def setup(self):
    """Starts as the identity."""
    self.shift = self.param('shift', nn.initializers.zeros, (self.size,))
    self.log_scale = self.param('log_scale', nn.initializers.zeros, (self.size,))

  def forward(self, x: jax.Array, condition: Given = None) -> Moved:
    """Data to noise."""
    del condition
    return (x - self.shift) * jnp.exp(self.log_scale), jnp.sum(self.log_scale)

  def inverse(self, y: jax.Array, condition: Given = None) -> Moved:
    """Noise to data."""
    del condition
    return y * jnp.exp(-self.log_scale) + self.shift, -jnp.sum(self.log_scale)


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
    self.out = nn.Dense(self.num_features * self.size, kernel_init=nn.initializers.zeros)

  def features(self, x: jax.Array, condition: Given) -> jax.Array:
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

  def forward(self, x: jax.Array, condition: Given = None) -> Moved:
    """Data to noise, given a condition [C]."""
    log_scale, shift = self._affine(x, condition)
    return x * jnp.exp(log_scale) + shift, jnp.sum(log_scale)

  def inverse(self, y: jax.Array, condition: Given = None) -> Moved:
    """Noise to data, given a condition [C]."""
    log_scale, shift = self._affine(y, condition)
    return (y - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale)

  def _affine(self, x: jax.Array, condition: Given) -> tuple[jax.Array, jax.Array]:
    """Logarithm of the scale and shift, 0 where coordinates are kept."""
    log_scale, shift = self.features(x, condition)
    log_scale = self.max_log_scale * jnp.tanh(log_scale / self.max_log_scale)
    return log_scale * (1 - self.mask), shift * (1 - self.mask)


def through(
  layers: Sequence[Any], x: typing.PyTree, condition: Given, *, inverse: bool = False
) -> tuple[typing.PyTree, jax.Array]:
  """(noise, log |det| in nats) of data, through invertible layers in turn; or their inverse."""
  total = jnp.zeros(())
  for layer in reversed(layers) if inverse else layers:
    x, log_det = (layer.inverse if inverse else layer.forward)(x, condition)
    total += log_det
  return x, total


class Stack(nn.Module):
  """Couplings with a learned scaling before each and after the last, from data to noise.

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
      layers += [Scaling(self.size), self.make_coupling(number)]
    self.layers = [*layers, Scaling(self.size)]

  def forward(self, x: jax.Array, condition: Given = None) -> Moved:
    """Data to noise, given a condition [C]."""
    return through(self.layers, x, condition)

  def inverse(self, y: jax.Array, condition: Given = None) -> Moved:
    """Noise to data, given a condition [C]."""
    return through(self.layers, y, condition, inverse=True)
