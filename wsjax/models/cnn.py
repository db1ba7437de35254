"""Convolutional network: convolution, activation, pooling; then dense parts.

Pooling takes the mean: it is linear, so the sign symmetry of odd activations survives it, which it
would not under a maximum.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import mlp
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

_Size = config_lib.PositiveInt


@dataclasses.dataclass(frozen=True)
class CNN(config_lib.Section, model_lib.Model):
  """A CNN, by default of 3x3 windows that keep height and width.

  Parameters are 'conv0/kernel' [window, window, in, out], 'conv0/bias', ..., 'dense0/kernel', ...

  Attributes:
    image: height, width and channels of one input.
    channels: outputs of every convolution.
    dense: units of every hidden dense layer behind the flatten.
    num_classes: number of outputs.
    activation: key of `mlp.ACTIVATIONS`, behind every hidden layer.
    pool: side of the mean-pooling window; rows and columns left over are cut.
    initializer: key of `mlp.INITIALIZERS`.
    window: side of the window of every convolution.
    stride: pixels from one window to the next.
    padding: rows and columns of zeros on every side; None is as many as keep height and width at
      stride 1.

  Raises:
    ValueError: for no convolution, or no pixels left behind the convolutions.
  """

  image: tuple[_Size, _Size, _Size] = (28, 28, 1)
  channels: tuple[_Size, ...] = (8, 16)
  dense: tuple[_Size, ...] = (32,)
  num_classes: _Size = 10
  activation: mlp.Activation = 'relu'
  pool: _Size = 2
  initializer: mlp.Initializer = 'lecun_normal'
  window: _Size = 3
  stride: _Size = 1
  padding: config_lib.NonNegativeInt | None = None

  def __post_init__(self) -> None:
    super().__post_init__()
    if not self.channels or min(self._pixels) < 1:
      raise ValueError(f'A CNN needs a convolution and pixels left after pooling; got {self}.')

  @property
  def _pads(self) -> tuple[int, int]:
    """Rows of zeros before and behind."""
    if self.padding is None:
      return (self.window - 1) // 2, self.window // 2
    return self.padding, self.padding

  @property
  def _pixels(self) -> tuple[int, int]:
    """Height and width of the last convolution's output."""
    height, width = self.image[:2]
    for _ in self.channels:
      height, width = (
        ((size + sum(self._pads) - self.window) // self.stride + 1) // self.pool
        for size in (height, width)
      )
    return height, width

  @functools.cached_property
  def spec(self) -> spec_lib.Spec:
    """Reordering of channels and hidden units, and what the activation allows besides."""
    convs = [f'channel{i}' for i in range(len(self.channels))]
    hiddens = [f'hidden{i}' for i in range(len(self.dense))]
    kinds = spec_lib.ACTIVATION_KINDS[self.activation]
    sizes = zip([*convs, *hiddens], [*self.channels, *self.dense], strict=True)
    groups = tuple(spec_lib.Group(id, size, kinds) for id, size in sizes)
    leaves: list[spec_lib.Leaf] = []
    fans, ids = (self.image[2], *self.channels), [None, *convs]
    window = (self.window, self.window)
    for i in range(len(self.channels)):
      links = dict(reads=ids[i], feeds=ids[i + 1])
      leaves += spec_lib.conv(f'conv{i}', window, fans[i], fans[i + 1], **links)
    blocks = math.prod(self._pixels)
    fans = (blocks * self.channels[-1], *self.dense, self.num_classes)
    ids = [convs[-1], *hiddens, None]
    for i in range(len(self.dense) + 1):
      links = dict(reads=ids[i], feeds=ids[i + 1], outer=blocks if i == 0 else 1)
      leaves += spec_lib.dense(f'dense{i}', fans[i], fans[i + 1], **links)
    return spec_lib.Spec(groups, tuple(leaves))

  @property
  def input_shape(self) -> tuple[int, ...]:
    """(height, width, channels)."""
    return self.image

  def init(self, key: jax.Array) -> typing.Params:
    """Draws kernels and biases by the initializer."""
    return mlp.init_params(key, self.spec, self.initializer)

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b h w c'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network."""
    activation = mlp.ACTIVATIONS[self.activation]
    x = jnp.asarray(inputs)
    hidden = {}
    for i in range(len(self.channels)):
      # Under vmap over kernels a convolution becomes a grouped one, which XLA runs slowly on CPU;
      # gathered patches become a batched matrix product.
      kernel = params[f'conv{i}/kernel']
      x = patches(x, self.window, self._pads, self.stride) @ kernel.reshape(-1, kernel.shape[-1])
      x = activation(x + params[f'conv{i}/bias'][None, None, None])
      x = mlp.drop(_mean_pool(x, self.pool), dropout, i)
      hidden[f'channel{i}'] = x.mean((1, 2))
    x = x.reshape(x.shape[0], -1)
    for i in range(len(self.dense) + 1):
      x = x @ params[f'dense{i}/kernel'] + params[f'dense{i}/bias'][None]
      if i < len(self.dense):
        x = mlp.drop(activation(x), dropout, len(self.channels) + i)
        hidden[f'hidden{i}'] = x
    return x, hidden


def patches(x: jax.Array, window: int, pads: tuple[int, int], stride: int) -> jax.Array:
  """Gathers the pixels of every window of a convolution of [*b, h, w, c].

  `pads` are the rows and columns of zeros before and behind.

  Returns:
    [*b, h', w', window * window * c], in the order of a raveled kernel.
  """
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [pads, pads, (0, 0)])
  height, width = (size - window + 1 for size in x.shape[-3:-1])
  return jnp.concatenate(
    [
      # Not by indexing, which becomes a gather where the batch is of any size.
      jax.lax.slice_in_dim(
        jax.lax.slice_in_dim(x, i, i + height, stride, axis=-3), j, j + width, stride, axis=-2
      )
      for i in range(window)
      for j in range(window)
    ],
    axis=-1,
  )


def _mean_pool(x: jax.Array, size: int) -> jax.Array:
  """Means of size x size windows: [b, h, w, c] -> [b, h/size, w/size, c]."""
  batch, height, width, features = x.shape
  height, width = height // size, width // size
  x = jax.lax.slice_in_dim(x, 0, height * size, axis=1)
  x = jax.lax.slice_in_dim(x, 0, width * size, axis=2)
  x = x.reshape(batch, height, size, width, size, features)
  return x.mean(axis=(2, 4))
