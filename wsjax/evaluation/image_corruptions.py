"""Corrupted images of any size, generated: nine kinds, five severities.

Lengths are shares of the side. A kind draws once for all severities, which differ in strength
alone.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261 (kinds, levels of noise, contrast and
  brightness); Mu and Gilmer 2019, arXiv:1906.02337 (digits need geometry).
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing

# Kind -> level at each severity: deviation, photons per unit of brightness, share of pixels,
# deviation / side, distance / side, degrees, remaining contrast, added brightness, side / side.
LEVELS = {
  'gaussian_noise': (0.08, 0.12, 0.18, 0.26, 0.38),
  'shot_noise': (60.0, 25.0, 12.0, 5.0, 3.0),
  'impulse_noise': (0.03, 0.06, 0.09, 0.17, 0.27),
  'blur': (0.06, 0.08, 0.1, 0.13, 0.17),
  'shift': (0.0625, 0.125, 0.1875, 0.25, 0.3125),
  'rotation': (10.0, 20.0, 30.0, 45.0, 60.0),
  'contrast': (0.4, 0.3, 0.2, 0.1, 0.05),
  'brightness': (0.1, 0.2, 0.3, 0.4, 0.5),
  'occlusion': (0.125, 0.25, 0.375, 0.5, 0.625),
}
KINDS = tuple(LEVELS)
SEVERITIES = 5
# Family -> its kinds; a report has one column for each family.
FAMILIES = {
  'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
  'blur': ('blur',),
  'geometry': ('shift', 'rotation'),
  'light': ('contrast', 'brightness'),
  'occlusion': ('occlusion',),
}


def corrupt(
  inputs: typing.Array, *, kinds: Sequence[str] = KINDS, side: int | None = None, seed: int = 0
) -> np.ndarray:
  """Every kind of corruption at every severity: [k, 5, n, ...] float32 in [0, 1].

  Args:
    inputs: [n, h, w], [n, h, w, c], or flat [n, d] with `side`; in [0, 1].
    kinds: keys of `LEVELS`; what is drawn for one does not depend on the others.
    side: rows and columns of flat images, d a multiple of its square.
    seed: of all draws.

  Raises:
    ValueError: for an unknown kind, or inputs that are no images in [0, 1].
  """
  if unknown := sorted(set(kinds) - set(KINDS)):
    raise ValueError(f'Unknown corruption {unknown[0]!r}; allowed: {", ".join(KINDS)}.')
  images = as_images(inputs, side=side)
  corrupted = _corrupt(jax.random.key(seed), images, tuple(kinds))
  shape = (len(kinds), SEVERITIES, *np.shape(inputs))
  return np.asarray(corrupted).reshape(shape)


def as_images(inputs: typing.Array, *, side: int | None = None) -> np.ndarray:
  """Inputs [n, h, w], [n, h, w, c], or flat [n, d] with `side`, as [n, h, w, c] float32.

  Raises:
    ValueError: if they are no images, or have values outside [0, 1].
  """
  inputs = np.asarray(inputs, np.float32)
  if inputs.ndim == 2 and side and inputs.shape[1] % side**2 == 0:
    inputs = inputs.reshape(len(inputs), side, side, -1)
  elif inputs.ndim == 3:
    inputs = inputs[..., None]
  if inputs.ndim != 4 or not inputs.size:
    raise ValueError(
      f'inputs of shape {inputs.shape} with side {side} are no images; allowed '
      'are [n, h, w], [n, h, w, c], and [n, d] with d a multiple of side^2.'
    )
  low, high = float(inputs.min()), float(inputs.max())
  if not (low >= 0 and high <= 1):
    raise ValueError(
      f'inputs are in [{low:.3g}, {high:.3g}]; images must be in [0, 1], which severities refer to.'
    )
  return inputs


@functools.partial(jax.jit, static_argnames='kinds')
def _corrupt(key: jax.Array, images: jax.Array, kinds: tuple[str, ...]) -> jax.Array:
  """[k, 5, n, h, w, c]; one program for all kinds."""
  results = []
  for kind in kinds:
    function = functools.partial(
      _FUNCTIONS[kind], jax.random.fold_in(key, KINDS.index(kind)), images
    )
    results.append(jax.vmap(function)(jnp.array(LEVELS[kind])))
  return jnp.clip(jnp.stack(results), 0, 1)


def _gaussian_noise(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  return images + level * jax.random.normal(key, images.shape)


def _shot_noise(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Counts of photons, brightness times level of them in the mean."""
  return jax.random.poisson(key, images * level).astype(jnp.float32) / level


def _impulse_noise(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Salt and pepper."""
  where, what = jax.random.split(key)
  hit = jax.random.uniform(where, images.shape) < level
  white = jax.random.bernoulli(what, shape=images.shape)
  return jnp.where(hit, white.astype(jnp.float32), images)


def _blur(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Gaussian window, its weights normalised inside the image."""
  del key

  def window(size: int) -> jax.Array:
    place = jnp.arange(size, dtype=jnp.float32)
    distance = place[:, None] - place[None]
    weights = jnp.exp(-((distance / (level * size)) ** 2) / 2)
    return weights / weights.sum(axis=1, keepdims=True)

  _, height, width, _ = images.shape
  return jnp.einsum('ia,jb,nabc->nijc', window(height), window(width), images)


def _shift(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Translation in a random direction; what comes in is black."""
  angle = jax.random.uniform(key, len(images), maxval=2 * math.pi)
  offset = level * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=1)
  return _move(images, jnp.zeros(len(images)), offset)


def _rotation(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Turn about the centre, to the left or to the right."""
  sign = 2 * jax.random.bernoulli(key, shape=(len(images),)) - 1
  return _move(images, sign * jnp.deg2rad(level), jnp.zeros((len(images), 2)))


def _contrast(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """Distance of each pixel to the mean of its image, shrunk."""
  del key
  mean = images.mean(axis=(1, 2, 3), keepdims=True)
  return mean + level * (images - mean)


def _brightness(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  del key
  return images + level


def _occlusion(key: jax.Array, images: jax.Array, level: jax.Array) -> jax.Array:
  """A black rectangle at a random place; a larger one covers a smaller."""
  place = jax.random.uniform(key, (len(images), 2))

  def covered(size: int, where: jax.Array) -> jax.Array:
    length = jnp.round(level * size)
    start = jnp.floor(where * (size - length + 1))[:, None]
    pixel = jnp.arange(size)[None]
    return (pixel >= start) & (pixel < start + length)

  _, height, width, _ = images.shape
  rows, columns = covered(height, place[:, 0]), covered(width, place[:, 1])
  hidden = rows[:, :, None] & columns[:, None, :]
  return jnp.where(hidden[..., None], 0.0, images)


def _move(images: jax.Array, angle: jax.Array, offset: jax.Array) -> jax.Array:
  """Turns images [n, h, w, c] by angles [n], radians, and shifts by shares [n, 2] of the sides.

  Pixels are interpolated linearly, and black outside.
  """
  _, height, width, _ = images.shape
  rows, columns = jnp.meshgrid(
    jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing='ij'
  )

  def one(image: jax.Array, angle: jax.Array, offset: jax.Array) -> jax.Array:
    y, x = rows - offset[0] * height, columns - offset[1] * width
    source = [
      jnp.cos(angle) * y + jnp.sin(angle) * x + (height - 1) / 2,
      jnp.cos(angle) * x - jnp.sin(angle) * y + (width - 1) / 2,
    ]
    sample = functools.partial(jax.scipy.ndimage.map_coordinates, coordinates=source, order=1)
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)

  return jax.vmap(one)(images, angle, offset)


_FUNCTIONS = dict(zip(KINDS, (
  _gaussian_noise, _shot_noise, _impulse_noise, _blur, _shift, _rotation, _contrast, _brightness,
  _occlusion,
), strict=True))  # fmt: skip
