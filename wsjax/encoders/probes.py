"""Probes: a network is represented by its outputs on learned inputs.

A symmetry does not change the outputs, so the encoder is invariant to all of them. For networks of
two coordinates the probes may start as a grid, and the outputs are then a small image that
convolutions can read.

Source: Kahana et al. 2025, arXiv:2410.10811 (ProbeGen: a deep linear generator of probes, no
non-linearity in between); Kofinas et al. 2024, arXiv:2403.12143, section 3.3 (probe features);
Herrmann et al. 2024, arXiv:2403.05232 (probing without looking at weights).
"""

import math
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.models import cnn
from wsjax.symmetry import spec as spec_lib


class Probes(encoder.Encoder):
  """Embedding of one network from its outputs on learned inputs.

  Attributes:
    source: of the probes: 'free' parameters; 'linear', a deep linear generator from learned codes;
      or 'grid', free parameters that start as a square grid in [-1, 1]^2.
    reader: of the outputs: 'mlp', or 'conv' on the square.
    num_probes: number of learned inputs; a square number for 'grid' and 'conv'.
    code: length of a code, for 'linear'.
    width: of the reader: hidden units, or channels of the first convolution.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = spec_lib.KINDS
  READS: ClassVar[str] = 'raw'

  source: Literal['free', 'linear', 'grid'] = 'free'
  reader: Literal['mlp', 'conv'] = 'mlp'
  num_probes: config.PositiveInt = 128
  code: config.PositiveInt = 32
  width: config.PositiveInt = 128

  def __post_init__(self):
    super().__post_init__()
    square = self.source == 'grid' or self.reader == 'conv'
    if square and round(self.num_probes**0.5) ** 2 != self.num_probes:
      raise ValueError(f'num_probes is {self.num_probes}; a grid needs a square number.')
    shape = self.architecture.input_shape
    if self.source == 'grid' and shape != (2,):
      raise ValueError(f"The source 'grid' is for two coordinates; inputs have shape {shape}.")

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Features of the outputs of one network."""
    del train
    outputs = self.architecture.apply(params, self._probes())
    if self.reader == 'conv':
      side, width = round(self.num_probes**0.5), self.width
      x = outputs.reshape(side, side, -1)
      for features, window, stride in ((width, 5, 2), (2 * width, 3, 2), (4 * width, 3, 1)):
        x = nn.relu(_Convolution(features, window, stride)(x))
      return x.reshape(-1)
    return nn.relu(nn.Dense(self.width)(outputs.reshape(-1)))

  def _probes(self) -> Float[Array, 'probes ...']:
    shape = self.architecture.input_shape
    if self.source == 'linear':
      codes = self.param('codes', nn.initializers.normal(1.0), (self.num_probes, self.code))
      # No non-linearity in between: depth biases towards simple probes.
      for width in (2 * self.code, 2 * self.code):
        codes = nn.Dense(width, use_bias=False)(codes)
      return nn.Dense(math.prod(shape))(codes).reshape(-1, *shape)
    init = _grid_init if self.source == 'grid' else nn.initializers.normal(1.0)
    return self.param('probes', init, (self.num_probes, *shape))


def _grid_init(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Centres of the pixels of a square image in [-1, 1]^2."""
  del key
  side = round(shape[0] ** 0.5)
  axis = (2 * jnp.arange(side) + 1) / side - 1
  return jnp.stack(jnp.meshgrid(axis, axis, indexing='ij'), -1).reshape(shape)


class _Convolution(nn.Module):
  """A strided convolution as one product of gathered patches.

  XLA runs a convolution in a loop on CPU much slower than the equal matrix product.
  """

  features: int
  window: int
  stride: int

  @nn.compact
  def __call__(self, x: Float[Array, 'h w c']) -> Float[Array, 'h_out w_out features']:
    """Convolves an image."""
    pad = self.window // 2
    gathered = cnn.patches(x, self.window, (pad, pad), self.stride)
    return nn.Dense(self.features)(gathered)
