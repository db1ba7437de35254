"""Augmentation of training networks: other weights with equal labels."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from wsjax import config, typing
from wsjax.models import model as model_lib

# (key, params of one network) -> params, drawn for each network and step.
Augmentation = Callable[[jax.Array, typing.Params], typing.Params]
_MOVES = ('shift', 'rotate', 'zoom', 'flip')


@dataclasses.dataclass(frozen=True)
class Augment(config.Section):
  """The section `augment` of a config.

  Attributes:
    symmetry: whether each network is replaced by a random element of its orbit.
    noise: standard deviation of normal noise, relative to the root mean square of each parameter.
    dropout: share of weights set to 0.
    shift: largest shift of the image of an INR along each axis; the image is [-1, 1]^2.
    rotate: largest rotation of the image, radians.
    zoom: largest logarithm of a scaling of the image.
    flip: whether half of the images are mirrored left to right.
  """

  symmetry: bool = False
  noise: config.NonNegativeFloat = 0.0
  dropout: config.Rate = 0.0
  shift: config.NonNegativeFloat = 0.0
  rotate: config.NonNegativeFloat = 0.0
  zoom: config.NonNegativeFloat = 0.0
  flip: bool = False


def make(section: Mapping[str, Any], architecture: model_lib.Model) -> Augmentation:
  """The augmentations of a section `Augment`, one after the other; the identity if there is none.

  Raises:
    ValueError: for a wrong field, or a movement of coordinates if the inputs of the networks are
      none.
  """
  augment = config.read(Augment, 'augment', section)
  chain: list[Augmentation] = []
  if moves := {name: getattr(augment, name) for name in _MOVES if getattr(augment, name)}:
    if architecture.task != 'image_fitting':
      raise ValueError(
        f'augment.{sorted(moves)[0]} moves coordinates, which the inputs of a {architecture.name} '
        f'for {architecture.task} are not; allowed: 0.'
      )
    chain.append(functools.partial(move_coordinates, **moves))
  if augment.symmetry:
    spec = architecture.spec
    chain.append(lambda key, params: spec.act(spec.random(key), params))
  if augment.noise:
    chain.append(functools.partial(add_noise, std=augment.noise))
  if augment.dropout:
    chain.append(functools.partial(drop, rate=augment.dropout))
  return functools.partial(_in_turn, chain)


def move_coordinates(
  key: jax.Array, params: typing.Params, *, shift=0.0, rotate=0.0, zoom=0.0, flip=False
) -> typing.Params:
  """Moves the image of an INR; further arguments are fields of `Augment`.

  f(A x + t) is the network whose first layer has the kernel A^T W and the bias b + t W, so the
  image moves exactly, also between pixels. Parameters have 'layer0/kernel' [2, n] and 'layer0/bias'
  [n].
  """
  keys = jax.random.split(key, 4)
  t = jax.random.uniform(keys[0], (2,), minval=-shift, maxval=shift)
  angle = jax.random.uniform(keys[1], minval=-rotate, maxval=rotate)
  size = jnp.exp(jax.random.uniform(keys[2], minval=-zoom, maxval=zoom))
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  matrix = size * jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
  if flip:  # Coordinates are (vertical, horizontal).
    side = jnp.where(jax.random.bernoulli(keys[3]), -1.0, 1.0)
    matrix = matrix * jnp.stack([jnp.ones(()), side])[None]
  kernel, bias = params['layer0/kernel'], params['layer0/bias']
  return {**params, 'layer0/kernel': matrix.T @ kernel, 'layer0/bias': bias + t @ kernel}


def add_noise(key: jax.Array, params: typing.Params, *, std: float) -> typing.Params:
  """Adds normal noise of `std` times the root mean square of each parameter."""
  noisy = {}
  for place, (path, value) in enumerate(sorted(params.items())):
    noise = jax.random.normal(jax.random.fold_in(key, place), value.shape)
    noisy[path] = value + std * jnp.sqrt(jnp.mean(value**2)) * noise
  return noisy


def drop(key: jax.Array, params: typing.Params, *, rate: float) -> typing.Params:
  """Sets a share `rate` of the weights to 0."""
  return {
    path: value * jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, value.shape)
    for place, (path, value) in enumerate(sorted(params.items()))
  }


def _in_turn(chain: Sequence[Augmentation], key: jax.Array, params: typing.Params) -> typing.Params:
  for place, augmentation in enumerate(chain):
    params = augmentation(jax.random.fold_in(key, place), params)
  return params
