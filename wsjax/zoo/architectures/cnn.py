"""Convolutional network: convolution, activation, pooling; then dense layers.

Pooling takes the mean: it is linear, so the sign symmetry of odd activations
survives it, which it would not under a maximum.
"""

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.zoo import architecture

WINDOW = (3, 3)


def make(
  image: tuple[int, int, int] = (28, 28, 1),
  channels: tuple[int, ...] = (8, 16),
  dense: tuple[int, ...] = (32,),
  num_classes: int = 10,
  activation: str = 'relu',
  pool: int = 2,
  init: str = 'lecun_normal',
) -> architecture.Architecture:
  """A CNN with 3x3 windows and padding that keeps height and width.

  Args:
    image: height, width and channels of one input.
    channels: outputs of every convolution.
    dense: units of every hidden dense layer behind the flatten.
    num_classes: number of outputs.
    activation: key of `architecture.ACTIVATIONS`, after every hidden layer.
    pool: side of the mean-pooling window; rows and columns left over are cut.
    init: key of `architecture.INITS`.

  Returns:
    The architecture; leaves are 'conv0/kernel' [3, 3, in, out], ...,
    'dense0/kernel', ...

  Raises:
    ValueError: for an unknown activation or init, no convolution, or more
      pooling than the image has pixels.
  """
  image, channels, dense = (
    tuple(int(size) for size in sizes) for sizes in (image, channels, dense)
  )
  architecture.check_init(init)
  height, width = (size // pool ** len(channels) for size in image[:2])
  if not channels or height < 1 or width < 1:
    raise ValueError(
      f'A CNN needs a convolution and pixels left after pooling; got image '
      f'{image}, channels {channels}, pool {pool}.'
    )
  conv_ids = [f'channel{i}' for i in range(len(channels))]
  dense_ids = [f'hidden{i}' for i in range(len(dense))]
  groups = architecture.hidden_groups(
    dict(zip([*conv_ids, *dense_ids], [*channels, *dense], strict=True)),
    activation,
  )
  fans = (image[2], *channels)
  ids = [None, *conv_ids]
  leaves = []
  for i in range(len(channels)):
    leaves += spec_lib.conv(
      f'conv{i}', WINDOW, fans[i], fans[i + 1], reads=ids[i], feeds=ids[i + 1]
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
  spec = spec_lib.PermutationSpec(groups, tuple(leaves))
  nonlinearity = architecture.ACTIVATIONS[activation]

  def apply(params: typing.Params, inputs: typing.Array) -> jax.Array:
    x = jnp.asarray(inputs)
    for i in range(len(channels)):
      x = _convolve(x, params[f'conv{i}/kernel'])
      x = nonlinearity(x + params[f'conv{i}/bias'][None, None, None])
      x = _mean_pool(x, pool)
    x = x.reshape(x.shape[0], -1)
    for i in range(len(dense) + 1):
      x = x @ params[f'dense{i}/kernel'] + params[f'dense{i}/bias'][None]
      if i < len(dense):
        x = nonlinearity(x)
    return x

  return architecture.Architecture(
    name='cnn',
    config={
      'image': list(image),
      'channels': list(channels),
      'dense': list(dense),
      'num_classes': num_classes,
      'activation': activation,
      'pool': pool,
      'init': init,
    },
    spec=spec,
    init=lambda key: architecture.init_params(key, spec, init),
    apply=apply,
    activation=activation,
  )


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolution [b, h, w, in] -> [b, h, w, out] as one matrix product.

  Under vmap over kernels a convolution becomes a grouped one, which XLA runs
  slowly on CPU; gathered patches become a batched matrix product.
  """
  rows, columns = kernel.shape[:2]
  height, width = x.shape[1:3]
  x = jnp.pad(
    x,
    (
      (0, 0),
      ((rows - 1) // 2, rows // 2),
      ((columns - 1) // 2, columns // 2),
      (0, 0),
    ),
  )
  patches = jnp.concatenate(
    [
      x[:, i : i + height, j : j + width]
      for i in range(rows)
      for j in range(columns)
    ],
    axis=-1,
  )
  return patches @ kernel.reshape(-1, kernel.shape[-1])


def _mean_pool(x: jax.Array, size: int) -> jax.Array:
  """Means of size x size windows: [b, h, w, c] -> [b, h/size, w/size, c]."""
  batch, height, width, features = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  x = x.reshape(batch, height, size, width, size, features)
  return x.mean(axis=(2, 4))
