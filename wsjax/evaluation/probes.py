"""Probes: what a network says on fixed items, as one vector.

Two networks of one orbit have the same vector, so sets of networks can be compared by it without
any alignment.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import methods
from wsjax.models import model as model_lib

NUM_ITEMS = 256


def choose(inputs: typing.Array) -> np.ndarray:
  """At most 256 items at even steps, for a test set may be sorted by class.

  Args:
    inputs: [n, ...].

  Returns:
    [p, ...] float32.
  """
  chosen = np.linspace(0, len(inputs) - 1, min(NUM_ITEMS, len(inputs)))
  return np.asarray(inputs, np.float32)[chosen.astype(int)]


def logits(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: typing.Array,
  *,
  nets_per_call: int = 32,
) -> np.ndarray:
  """Logits of N networks on p items.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    inputs: [p, ...].
    nets_per_call: networks that one call of the compiled program takes.

  Returns:
    [N, p * c] float32. The c logits of an item have mean 0, for a constant that is added to all of
    them changes no probability; they are all 0 where the output is not finite.
  """
  count = len(next(iter(params.values())))
  parts = [
    np.asarray(_logits(architecture, chunk, inputs))
    for chunk in methods.chunks(params, nets_per_call)
  ]
  return np.concatenate(parts)[:count]


@functools.partial(jax.jit, static_argnames='architecture')
def _logits(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: typing.Array
) -> jax.Array:
  outputs = jax.vmap(architecture.apply, (0, None))(params, inputs)
  finite = jnp.all(jnp.isfinite(outputs), axis=-1, keepdims=True)
  outputs = jnp.where(finite, outputs, 0.0)
  centred = outputs - jnp.mean(outputs, axis=-1, keepdims=True)
  return centred.reshape(len(outputs), -1)
