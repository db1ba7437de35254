"""Equivariance of a trained editor to permutations of neurons."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.zoo.data import images


def of_edit(
  edit: Callable[[typing.Params], typing.Params],
  architecture: model_lib.Model,
  params: typing.StackedParams,
  *,
  pixels: int,
  seed: int,
) -> dict[str, float]:
  """Permutes the neurons of networks before an edit, and after it.

  Args:
    edit: weights of one network -> edited weights.
    architecture: of networks that draw.
    params: path -> [n, ...] weights.
    pixels: rows and columns of the images.
    seed: of the orders.

  Returns:
    'n'; the largest difference of 'weights', relative to the largest change of that parameter by
    the edit; the largest difference of a pixel in the 'picture' of the edited network.
  """
  spec = architecture.spec.permutations_only()

  def one(key: jax.Array, params: typing.Params) -> tuple[jax.Array, jax.Array]:
    act = functools.partial(spec.act, spec.random(key))
    moved, edited = act(params), edit(params)
    first, last = edit(moved), act(edited)
    differences = [
      jnp.abs(first[path] - last[path]).max() / (jnp.abs(last[path] - moved[path]).max() + 1e-12)
      for path in moved
    ]
    pixel = jnp.abs(
      images.draw(architecture, first, pixels) - images.draw(architecture, edited, pixels)
    )
    return jnp.max(jnp.stack(differences)), pixel.max()

  num = len(next(iter(params.values())))
  keys = jax.random.split(jax.random.key(seed), num)
  weights, picture = jax.jit(jax.vmap(one))(keys, params)
  return {'n': num, 'weights': float(weights.max()), 'picture': float(picture.max())}
