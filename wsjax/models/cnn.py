"""Convolutional network: convolution, activation, pooling; then dense layers.

Pooling takes the mean: it is linear, so the sign symmetry of odd activations survives it, which it
would not under a maximum.
"""

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import architecture
from wsjax.symmetry import spec as spec_lib


def make(
  image: tuple[int, int, int] = (28, 28, 1),
  channels: tuple[int, ...] = (8, 16),
  dense: tuple[int, ...] = (32,),
  num_classes: int = 10,
  activation: str = 'relu',
  pool: int = 2,
  init: str = 'lecun_normal',
  window: int = 3,
  stride: int = 1,
  padding: int | None = None,
) -> architecture.Architecture:
  """A CNN, by default of 3x3 windows that keep height and width.

  Args:
    image: height, width and channels of one input.
    channels: outputs of every convolution.
    dense: units of every hidden dense layer behind the flatten.
    num_classes: number of outputs.
    activation: key of `architecture.ACTIVATIONS`, after every hidden layer.
    pool: side of the mean-pooling window; rows and columns left over are cut.
    init: key of `architecture.INITS`.
    window: side of the window of every convolution.
    stride: pixels from one window to the next.
    padding: rows and columns of zeros on every side; None is as many as keep height and width at
      stride 1.

  Returns:
    The architecture; leaves are 'conv0/kernel' [window, window, in, out], ..., 'dense0/kernel', ...

  Raises:
    ValueError: for an unknown activation or init, no convolution, or no pixels left behind the
      convolutions.
  """
  image, channels, dense = (
    tuple(int(size) for size in sizes) for sizes in (image, channels, dense)
  )
  architecture.check_init(init)
  pads = (padding, padding)
  if padding is None:
    pads = ((window - 1) // 2, window // 2)
  height, width = image[:2]
  for _ in channels:
    height, width = ((size + sum(pads) - window) // stride + 1 for size in (height, width))
    height, width = height // pool, width // pool
  if not channels or height < 1 or width < 1:
    raise ValueError(
      f'A CNN needs a convolution and pixels left after pooling; got image '
      f'{image}, channels {channels}, pool {pool}, window {window}, stride '
      f'{stride}, padding {padding}.'
    )
  conv_ids = [f'channel{i}' for i in range(len(channels))]
  dense_ids = [f'hidden{i}' for i in range(len(dense))]
  groups = architecture.hidden_groups(
    dict(zip([*conv_ids, *dense_ids], [*channels, *dense], strict=True)), activation
  )
  fans = (image[2], *channels)
  ids = [None, *conv_ids]
  leaves = []
  for i in range(len(channels)):
    leaves += spec_lib.conv(
      f'conv{i}', (window, window), fans[i], fans[i + 1], reads=ids[i], feeds=ids[i + 1]
    )
  blocks = height * width
  fans = (blocks * channels[-1], *dense, num_classes)
  ids = [conv_ids[-1], *dense_ids, None]
  for i in range(len(dense) + 1):
    leaves += spec_lib.dense(
      f'dense{i}',
      fans[i],
      fans[i + 1],
      reads=ids[i],
      feeds=ids[i + 1],
      outer=blocks if i == 0 else 1,
    )
  spec = spec_lib.Spec(groups, tuple(leaves))
  nonlinearity = architecture.ACTIVATIONS[activation]

  def forward(
    params: typing.Params, inputs: typing.Array, dropout: architecture.Dropout = None
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    x = jnp.asarray(inputs)
    hidden = {}
    for i in range(len(channels)):
      x = _convolve(x, params[f'conv{i}/kernel'], pads, stride)
      x = nonlinearity(x + params[f'conv{i}/bias'][None, None, None])
      x = architecture.drop(_mean_pool(x, pool), dropout, i)
      hidden[conv_ids[i]] = x.mean((1, 2))
    x = x.reshape(x.shape[0], -1)
    for i in range(len(dense) + 1):
      x = x @ params[f'dense{i}/kernel'] + params[f'dense{i}/bias'][None]
      if i < len(dense):
        x = architecture.drop(nonlinearity(x), dropout, len(channels) + i)
        hidden[dense_ids[i]] = x
    return x, hidden

  config = {
    'image': list(image),
    'channels': list(channels),
    'dense': list(dense),
    'num_classes': num_classes,
    'activation': activation,
    'pool': pool,
    'init': init,
  }
  if (window, stride, padding) != (3, 1, None):
    config |= {'window': window, 'stride': stride, 'padding': padding}
  return architecture.Architecture(
    name='cnn',
    config=config,
    spec=spec,
    init=lambda key: architecture.init_params(key, spec, init),
    apply=lambda *args: forward(*args)[0],
    forward=forward,
    activation=activation,
  )


def _convolve(x: jax.Array, kernel: jax.Array, pads: tuple[int, int], stride: int) -> jax.Array:
  """Convolution [b, h, w, in] -> [b, h', w', out] as one matrix product.

  Under vmap over kernels a convolution becomes a grouped one, which XLA runs slowly on CPU;
  gathered patches become a batched matrix product.
  """
  gathered = patches(x, kernel.shape[0], pads, stride)
  return gathered @ kernel.reshape(-1, kernel.shape[-1])


def patches(x: jax.Array, window: int, pads: tuple[int, int], stride: int) -> jax.Array:
  """What each window of a convolution sees, side by side.

  Args:
    x: [*b, h, w, c].
    window: side of the window.
    pads: rows and columns of zeros before and behind.
    stride: pixels from one window to the next.

  Returns:
    [*b, h', w', window * window * c], in the order of a raveled kernel.
  """
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [pads, pads, (0, 0)])
  height, width = (size - window + 1 for size in x.shape[-3:-1])
  return jnp.concatenate(
    [
      x[..., i : i + height : stride, j : j + width : stride, :]
      for i in range(window)
      for j in range(window)
    ],
    axis=-1,
  )


def _mean_pool(x: jax.Array, size: int) -> jax.Array:
  """Means of size x size windows: [b, h, w, c] -> [b, h/size, w/size, c]."""
  batch, height, width, features = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  x = x.reshape(batch, height, size, width, size, features)
  return x.mean(axis=(2, 4))
