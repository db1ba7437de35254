"""Images that networks of coordinates draw, and edits of them."""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo import train

_WINDOW = (3, 3, 1)


def draw(architecture: model_lib.Model, params: typing.Params, pixels: int) -> jax.Array:
  """The image [pixels, pixels, channels] of one network on the grid that it was fitted on.

  It is not clipped. Raises ValueError if the network does not draw.
  """
  if architecture.task != 'image_fitting':
    raise ValueError(
      f'Only networks for image_fitting draw; this {architecture.name} is for {architecture.task}.'
    )
  values = architecture.apply(params, train.coordinates(pixels, pixels))
  return values.reshape(pixels, pixels, -1)


def dilate(picture: jax.Array) -> jax.Array:
  """Grey-scale dilation [height, width, channels]: the largest value of 3 x 3 pixels around each.

  Source: Serra 1982, Image Analysis and Mathematical Morphology.
  """
  return jax.lax.reduce_window(picture, -np.inf, jax.lax.max, _WINDOW, (1, 1, 1), 'SAME')


def erode(picture: jax.Array) -> jax.Array:
  """Grey-scale erosion: the smallest value of the 3 x 3 pixels around each."""
  return -dilate(-picture)


EDITS = {'dilate': dilate, 'erode': erode}


def target(picture: jax.Array, edit: str) -> jax.Array:
  """The image, in [0, 1], that a network should draw after one of `EDITS`.

  It is made from the image [height, width, channels] that the network draws now, not from the one
  that it was fitted to: so no data set is needed, and an image that an augmentation has moved has
  its own target. Raises ValueError if there is no such edit.
  """
  if edit not in EDITS:
    raise ValueError(f'Unknown edit {edit!r}; allowed: {", ".join(EDITS)}.')
  return EDITS[edit](jnp.clip(picture, 0, 1))
