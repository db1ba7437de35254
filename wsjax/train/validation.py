"""Loss of a split that training only looks at."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import typing
from wsjax.train import data as data_lib

# The loss is measured with this many noise draws, of models whose loss is noisy without training
# too.
_DRAWS = 8


def make_loss(
  model: Any, val: typing.PyTree, key: jax.Array, mesh: Mesh
) -> Callable[[typing.PyTree], jax.Array]:
  """Parameters -> loss of the validation split, always with the same noise.

  Args:
    model: has `loss`, and perhaps `val_draws`.
    val: arrays with leading axis [V].
    key: of the noise.
    mesh: every device of it computes the whole.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  keys = jax.random.split(key, getattr(model, 'val_draws', _DRAWS))

  # Data as an argument: of constants the compiler works out what it can.
  @functools.partial(jax.jit, out_shardings=replicated)
  def mean_loss(params: typing.PyTree, data: typing.PyTree) -> jax.Array:
    return jnp.mean(jax.lax.map(lambda k: model.loss(params, data, k, train=False)[0], keys))

  placed = data_lib.place(val, replicated)
  return lambda params: mean_loss(params, placed)
