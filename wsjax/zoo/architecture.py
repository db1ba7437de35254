"""Architecture: a forward function with the spec of its symmetries."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

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

# Kernel initialisers; 'torch_uniform' is U(+-1 / sqrt(fan_in)) for kernels and
# biases, the default of that library's layers; the others have zero biases.
_SCALING = jax.nn.initializers.variance_scaling
INITS = {
  'lecun_normal': _SCALING(1.0, 'fan_in', 'truncated_normal'),
  'he_normal': _SCALING(2.0, 'fan_in', 'truncated_normal'),
  'glorot_uniform': _SCALING(1.0, 'fan_avg', 'uniform'),
  'torch_uniform': _SCALING(1 / 3, 'fan_in', 'uniform'),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
  """What a network of a zoo is, apart from its weights.

  Two are equal if name and config are, so that a compiled function that takes
  one as a static argument is compiled once.

  Attributes:
    name: plug-in of `zoo.architectures`.
    config: arguments of its `make`, as JSON values.
    spec: shapes of the parameters, and the symmetries.
    init: key -> params of one network.
    apply: (params of one network, inputs [b, ...]) -> outputs [b, d].
    activation: name of the non-linearity.
  """

  name: str
  config: Mapping[str, Any]
  spec: spec_lib.PermutationSpec
  init: Callable[[jax.Array], typing.Params]
  apply: Callable[[typing.Params, typing.Array], jax.Array]
  activation: str

  @property
  def identity(self) -> str:
    """Name and config as one string of JSON."""
    return json.dumps([self.name, dict(self.config)], sort_keys=True)

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
  return config_lib.build(
    'zoo.architectures', {**dict(arch_config), 'name': arch_id}
  )


def hidden_groups(
  sizes: Mapping[str, int], activation: str
) -> tuple[spec_lib.Group, ...]:
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
    raise ValueError(
      f'Unknown activation {activation!r}; allowed: {", ".join(ACTIVATIONS)}.'
    )
  kinds = spec_lib.ACTIVATION_KINDS[activation]
  return tuple(spec_lib.Group(id, size, kinds) for id, size in sizes.items())


def init_params(
  key: jax.Array, spec: spec_lib.PermutationSpec, init: str
) -> typing.Params:
  """Random kernels and biases for every leaf of a spec.

  Args:
    key: one key; leaf k uses fold_in(key, k).
    spec: leaves ordered kernel, bias, kernel, bias, ...
    init: key of `INITS`.

  Returns:
    Parameters of one network, float32.
  """
  params = {}
  fan_in = 1
  for number, leaf in enumerate(spec.leaves):
    leaf_key = jax.random.fold_in(key, number)
    if leaf.path.endswith('/kernel'):
      fan_in = _fan_in(leaf.shape)
      params[leaf.path] = INITS[init](leaf_key, leaf.shape, jnp.float32)
    elif init == 'torch_uniform':
      bound = fan_in**-0.5
      params[leaf.path] = jax.random.uniform(
        leaf_key, leaf.shape, jnp.float32, -bound, bound
      )
    else:
      params[leaf.path] = jnp.zeros(leaf.shape, jnp.float32)
  return params


def _fan_in(kernel_shape: tuple[int, ...]) -> int:
  """Number of inputs of one unit of a dense or convolution kernel."""
  fan_in = 1
  for length in kernel_shape[:-1]:
    fan_in *= length
  return fan_in


def check_init(init: str) -> None:
  """Raises ValueError unless `init` is a key of `INITS`."""
  if init not in INITS:
    raise ValueError(f'Unknown init {init!r}; allowed: {", ".join(INITS)}.')
