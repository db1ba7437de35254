"""Architecture: a forward function with the spec of its symmetries."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from wsjax import config as config_lib
from wsjax import typing
from wsjax.symmetry import spec as spec_lib

ACTIVATIONS = {
  'relu': jax.nn.relu,
  'leaky_relu': jax.nn.leaky_relu,
  'tanh': jnp.tanh,
  'gelu': jax.nn.gelu,
  'silu': jax.nn.silu,
  'sigmoid': jax.nn.sigmoid,
}
# What may be applied to the outputs; the hidden units do not notice.
OUTPUT_ACTIVATIONS = {'identity': lambda x: x, 'tanh': jnp.tanh}

# Init -> (variance times fan, fan, distribution, whether biases are drawn like their kernel or are
# zero). 'torch_uniform' is U(+-1 / sqrt(fan_in)) for both, the default of that library's layers.
INITS = {
  'lecun_normal': (1.0, 'fan_in', 'normal', False),
  'he_normal': (2.0, 'fan_in', 'normal', False),
  'glorot_uniform': (1.0, 'fan_avg', 'uniform', False),
  'torch_uniform': (1 / 3, 'fan_in', 'uniform', True),
}
# Key, and share of the hidden activations that are left out; None is none.
Dropout: TypeAlias = tuple[jax.Array, jax.Array] | None
# Standard deviation of a normal distribution cut at two deviations.
_CUT_NORMAL_STD = 0.87962566103423978


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
  """What a network of a zoo is, apart from its weights.

  Two are equal if name and config are, so that a compiled function that takes one as a static
  argument is compiled once.

  Attributes:
    name: plug-in of `zoo.architectures`.
    config: arguments of its `make`, as JSON values.
    spec: shapes of the parameters, and the symmetries.
    init: key -> params of one network.
    apply: (params of one network, inputs [b, ...]) -> outputs [b, d]. Classifiers take a `Dropout`
      as third argument, for training.
    forward: as `apply`, but gives (outputs, group id -> activations [b, n] of its units behind the
      non-linearity, means over pixels for channels).
    activation: name of the non-linearity.
    task: what it is made for: 'classification' of images, or 'image_fitting', from coordinates to
      values.
  """

  name: str
  config: Mapping[str, Any]
  spec: spec_lib.Spec
  init: Callable[[jax.Array], typing.Params]
  apply: Callable[..., jax.Array]
  forward: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
  activation: str
  task: str = 'classification'

  @property
  def identity(self) -> str:
    """Name and config as one string of JSON."""
    return json.dumps([self.name, dict(self.config)], sort_keys=True)

  def num_outputs(self, inputs: typing.Array) -> int:
    """Number of outputs for inputs [b, ...]; nothing is computed."""
    params = {leaf.path: jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in self.spec.leaves}
    return jax.eval_shape(self.apply, params, inputs).shape[-1]

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Architecture) and self.identity == other.identity

  def __hash__(self) -> int:
    return hash(self.identity)


def from_record(arch_id: str, arch_config: Mapping[str, Any]) -> Architecture:
  """The architecture that a checkpoint record names.

  Args:
    arch_id: plug-in of `zoo.architectures`.
    arch_config: arguments of its `make`.

  Returns:
    The architecture.

  Raises:
    ValueError: if there is no such plug-in or it takes other arguments.
  """
  return config_lib.build('models', {**dict(arch_config), 'name': arch_id})


def hidden_groups(sizes: Mapping[str, int], activation: str) -> tuple[spec_lib.Group, ...]:
  """Groups of hidden units with all that their activation allows.

  Args:
    sizes: group id -> number of units, in forward order.
    activation: key of `ACTIVATIONS`.

  Returns:
    One group per entry.

  Raises:
    ValueError: if the activation is unknown.
  """
  if activation not in ACTIVATIONS:
    raise ValueError(f'Unknown activation {activation!r}; allowed: {", ".join(ACTIVATIONS)}.')
  kinds = spec_lib.ACTIVATION_KINDS[activation]
  return tuple(spec_lib.Group(id, size, kinds) for id, size in sizes.items())


def init_params(key: jax.Array, spec: spec_lib.Spec, init: str) -> typing.Params:
  """Random kernels and biases for every leaf of a spec.

  Args:
    key: one key.
    spec: leaves ordered kernel, bias, kernel, bias, ...
    init: key of `INITS`.

  Returns:
    Parameters of one network, float32.
  """
  variance, fan, distribution, draws_biases = INITS[init]
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
  """Independent weights of mean 0.

  One draw is cut into the leaves: a draw per leaf would take most of the time that a training
  program takes to compile.

  Args:
    key: one key.
    spec: the leaves.
    stds: path -> standard deviation.
    distribution: 'normal', cut at two deviations before scaling to `stds`, or 'uniform'.

  Returns:
    Parameters of one network, float32.
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


def drop(x: jax.Array, dropout: Dropout, layer: int) -> jax.Array:
  """Sets some activations to 0 and scales the others, so that means stay.

  Args:
    x: hidden activations.
    dropout: None gives them back.
    layer: number of the layer, so that every layer has its own draw.

  Returns:
    As `x`.
  """
  if dropout is None:
    return x
  key, rate = dropout
  kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - rate, x.shape)
  return jnp.where(kept, x / (1 - rate), 0)


def check_init(init: str) -> None:
  """Raises ValueError unless `init` is a key of `INITS`."""
  if init not in INITS:
    raise ValueError(f'Unknown init {init!r}; allowed: {", ".join(INITS)}.')


def check_output_activation(name: str) -> None:
  """Raises ValueError unless `name` is a key of `OUTPUT_ACTIVATIONS`."""
  if name not in OUTPUT_ACTIVATIONS:
    raise ValueError(
      f'Unknown output activation {name!r}; allowed: {", ".join(OUTPUT_ACTIVATIONS)}.'
    )
