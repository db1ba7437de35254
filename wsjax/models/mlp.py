"""Multilayer perceptron, and the activations and initializers that other models share."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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


@dataclasses.dataclass(frozen=True)
class MLP(config_lib.Section, model_lib.Model):
  """An MLP on flattened inputs; parameters are 'layer0/kernel', 'layer0/bias', ...

  Attributes:
    widths: units of every layer, input and output included.
    activation: key of `ACTIVATIONS`, behind every hidden layer.
    initializer: key of `INITIALIZERS`.
    output_activation: key of `OUTPUT_ACTIVATIONS`.

  Raises:
    ValueError: for fewer than two widths.
  """

  widths: tuple[config_lib.PositiveInt, ...] = (64, 32, 32, 10)
  activation: Activation = 'relu'
  initializer: Initializer = 'lecun_normal'
  output_activation: OutputActivation = 'identity'

  def __post_init__(self) -> None:
    super().__post_init__()
    if len(self.widths) < 2:
      raise ValueError(f'An MLP needs widths of input and output; got {self.widths}.')

  @functools.cached_property
  def spec(self) -> spec_lib.Spec:
    """Reordering of hidden units, and what the activation allows besides."""
    return dense_spec(self.widths, spec_lib.ACTIVATION_KINDS[self.activation])

  @property
  def input_shape(self) -> tuple[int, ...]:
    """(first width,)."""
    return self.widths[:1]

  def init(self, key: jax.Array) -> typing.Params:
    """Draws kernels and biases by the initializer."""
    return init_params(key, self.spec, self.initializer)

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; inputs of more axes are flattened."""
    activation = ACTIVATIONS[self.activation]
    outputs, hidden = dense_forward(
      params, inputs, len(self.widths) - 1, lambda x, i: drop(activation(x), dropout, i)
    )
    return OUTPUT_ACTIVATIONS[self.output_activation](outputs), hidden


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


def dense_forward(
  params: typing.Params,
  inputs: Float[Array, 'b ...'],
  depth: int,
  activation: Callable[[jax.Array, int], jax.Array],
) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
  """Runs the layers of `dense_spec`; `activation` gets features [n, b] and the layer's number."""
  # Features first, examples last: under vmap over networks the small products then have the long
  # axis contiguous, which is faster on CPU.
  x = inputs.reshape(inputs.shape[0], -1).T
  hidden = {}
  for i in range(depth):
    x = params[f'layer{i}/kernel'].T @ x + params[f'layer{i}/bias'][:, None]
    if i < depth - 1:
      x = activation(x, i)
      hidden[f'hidden{i}'] = x.T
  return x.T, hidden


def dense_spec(
  widths: tuple[int, ...], kinds: tuple[str, ...], half_turn: float = 0.0
) -> spec_lib.Spec:
  """The spec of dense layers 'layer0', 'layer1', ... with groups 'hidden0', 'hidden1', ...

  The groups have these kinds and, of kind 'phase', this `half_turn`; see `spec.Group`.
  """
  groups = [spec_lib.Group(f'hidden{i}', n, kinds, half_turn) for i, n in enumerate(widths[1:-1])]
  ids = [None, *(group.id for group in groups), None]
  leaves: list[spec_lib.Leaf] = []
  for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
    leaves += spec_lib.dense(f'layer{i}', fan_in, fan_out, reads=ids[i], feeds=ids[i + 1])
  return spec_lib.Spec(tuple(groups), tuple(leaves))
