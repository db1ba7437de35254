"""Augmentation: other weights with the same property.

Every augmentation is a function (key, params of one network) -> params, drawn anew for each network
and step.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import model as model_lib

Augmentation = Callable[[jax.Array, typing.Params], typing.Params]


def make(section: Mapping[str, Any], architecture: model_lib.Model) -> Augmentation:
  """The augmentation that a config section describes.

  Args:
    section: 'symmetry', whether each network is replaced by a random element of its orbit; 'noise',
      relative standard deviation of noise on weights; 'dropout', share of weights set to 0; and for
      networks of coordinates 'shift', 'rotate' (radians), 'zoom', each the largest of a uniform
      draw, and 'flip', whether half are mirrored left to right.
    architecture: of the networks.

  Returns:
    All of them in turn; the identity if none is wanted.

  Raises:
    ValueError: for an unknown key, or a movement of coordinates where the inputs are not
      coordinates.
  """
  allowed = ('symmetry', 'noise', 'dropout', *_MOVES)
  if unknown := sorted(set(section) - set(allowed)):
    raise ValueError(f'An augmentation has no {unknown[0]!r}; allowed: {", ".join(allowed)}.')
  chain: list[Augmentation] = []
  moves = {name: section[name] for name in _MOVES if section.get(name)}
  if moves:
    if architecture.task != 'image_fitting':
      raise ValueError(
        f'{sorted(moves)} move coordinates; the inputs of a {architecture.name}'
        f' for {architecture.task} are not coordinates.'
      )
    chain.append(functools.partial(move_coordinates, **moves))
  if section.get('symmetry'):
    spec = architecture.spec
    chain.append(lambda key, params: spec.act(spec.random(key), params))
  if section.get('noise'):
    chain.append(functools.partial(add_noise, std=section['noise']))
  if section.get('dropout'):
    chain.append(functools.partial(drop, rate=section['dropout']))
  return functools.partial(_in_turn, chain)


_MOVES = ('shift', 'rotate', 'zoom', 'flip')


def move_coordinates(
  key: jax.Array,
  params: typing.Params,
  *,
  shift: float = 0.0,
  rotate: float = 0.0,
  zoom: float = 0.0,
  flip: bool = False,
) -> typing.Params:
  """Moves the picture that a network of two coordinates draws.

  f(A x + t) is the network whose first layer has the kernel A^T W and the bias b + t W, so that the
  picture moves exactly, between pixels too.

  Args:
    key: of the draw.
    params: leaves 'layer0/kernel' [2, n] and 'layer0/bias' [n].
    shift: largest movement along each axis; the picture is [-1, 1]^2.
    rotate: largest angle, radians.
    zoom: largest logarithm of a change of size.
    flip: whether half of the pictures are mirrored left to right.

  Returns:
    Weights of the moved picture.
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
  """Adds normal noise of `std` times the root mean square of each leaf."""
  return {
    path: value
    + std
    * jnp.sqrt(jnp.mean(value**2))
    * jax.random.normal(jax.random.fold_in(key, place), value.shape)
    for place, (path, value) in enumerate(sorted(params.items()))
  }


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
