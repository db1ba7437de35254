"""Activations, initializers and dropout that the built-in models share."""

import math
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

ACTIVATIONS = {
  'relu': jax.nn.relu,
  'leaky_relu': jax.nn.leaky_relu,
  'tanh': jnp.tanh,
  'gelu': jax.nn.gelu,
  'silu': jax.nn.silu,
  'sigmoid': jax.nn.sigmoid,
}
# Applied to the outputs; hidden units keep their symmetries.
OUTPUT_ACTIVATIONS = {'identity': lambda x: x, 'tanh': jnp.tanh}

# Initializer -> (variance times fan, fan, distribution, whether biases are drawn like their kernel
# or are zero). 'torch_uniform' is U(+-1 / sqrt(fan_in)) for both, the default of PyTorch's layers.
INITIALIZERS = {
  'lecun_normal': (1.0, 'fan_in', 'normal', False),
  'he_normal': (2.0, 'fan_in', 'normal', False),
  'glorot_uniform': (1.0, 'fan_avg', 'uniform', False),
  'torch_uniform': (1 / 3, 'fan_in', 'uniform', True),
}
Activation = Annotated[str, config_lib.OneOf(ACTIVATIONS)]
Initializer = Annotated[str, config_lib.OneOf(INITIALIZERS)]
OutputActivation = Annotated[str, config_lib.OneOf(OUTPUT_ACTIVATIONS)]
# Standard deviation of a normal distribution cut at two deviations.
_CUT_NORMAL_STD = 0.87962566103423978


def init_params(key: jax.Array, spec: spec_lib.Spec, initializer: str) -> typing.Params:
  """Random float32 weights of one network, by a key of `INITIALIZERS`.

  The leaves of the spec are ordered kernel, bias, kernel, bias, ...
  """
  variance, fan, distribution, draws_biases = INITIALIZERS[initializer]
  stds, std = {}, 0.0
  for leaf in spec.leaves:
    if leaf.path.endswith('/kernel'):
      fan_in = math.prod(leaf.shape[:-1])
      fan_out = math.prod(leaf.shape) // leaf.shape[-2]
      size = fan_in if fan == 'fan_in' else (fan_in + fan_out) / 2
      std = math.sqrt(variance / size)
      stds[leaf.path] = std
    else:
      stds[leaf.path] = std if draws_biases else 0.0
  return draw_params(key, spec, stds, distribution)


def draw_params(
  key: jax.Array, spec: spec_lib.Spec, stds: Mapping[str, float], distribution: str
) -> typing.Params:
  """Independent float32 weights of mean 0.

  One draw is cut into the leaves: a draw per leaf would take most of the time that a training
  program takes to compile.

  Args:
    key: one key.
    spec: the leaves.
    stds: path -> standard deviation.
    distribution: 'normal', cut at two deviations before scaling to `stds`, or 'uniform'.
  """
  shape = (spec.num_params,)
  if distribution == 'normal':
    values = jax.random.truncated_normal(key, -2, 2, shape) / _CUT_NORMAL_STD
  else:
    values = jax.random.uniform(key, shape, minval=-(3**0.5), maxval=3**0.5)
  params, start = {}, 0
  for leaf in spec.leaves:
    stop = start + math.prod(leaf.shape)
    params[leaf.path] = values[start:stop].reshape(leaf.shape) * stds[leaf.path]
    start = stop
  return params


def drop(x: jax.Array, dropout: model_lib.Dropout, layer: int) -> jax.Array:
  """Sets some activations of a layer to 0 and scales the others, so that means stay.

  Every layer, by its number, has a draw of its own; without dropout activations stay.
  """
  if dropout is None:
    return x
  key, rate = dropout
  kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - rate, x.shape)
  return jnp.where(kept, x / (1 - rate), 0)
