"""Model: a JAX function with named parameters, and the symmetries of its parameters."""

import abc
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.symmetry import spec as spec_lib

# Key, and share of the hidden activations that are set to 0.
Dropout: TypeAlias = tuple[jax.Array, jax.Array] | None


class Model(abc.ABC):
  """A function of named parameters and inputs, with the symmetries of its parameters.

  A subclass is a frozen dataclass whose fields are its config section. Models with equal fields are
  equal, so that a function that takes one as a static argument is compiled once for all of them.
  Models of other libraries are made by `from_flax`, `from_nnx`, `from_equinox`, `from_haiku` and
  `from_function`.

  Attributes:
    activation: name of the non-linearity behind hidden units; '' where it is not known.
    task: 'classification' of inputs, 'image_fitting' from coordinates to values, or a name of the
      user's own.
  """

  activation: str = ''
  task: str = 'classification'
  DTYPE: ClassVar[str] = 'float32'

  @property
  @abc.abstractmethod
  def spec(self) -> spec_lib.Spec:
    """Shapes of the parameters in forward order, and their symmetries."""

  @property
  @abc.abstractmethod
  def input_shape(self) -> tuple[int, ...]:
    """Shape of one input, without the batch axis."""

  @property
  def can_init(self) -> bool:
    """Whether `init` draws networks."""
    return True

  @abc.abstractmethod
  def init(self, key: jax.Array) -> typing.Params:
    """Draws the parameters of one network."""

  @abc.abstractmethod
  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network.

    Args:
      params: path -> array.
      inputs: a batch of `input_shape`.
      dropout: for training; None leaves out no activation.

    Returns:
      The outputs, and the activations of hidden units by the id of their group: behind the
      non-linearity, means over pixels for channels. Groups whose activations are not known are
      left out.
    """

  def apply(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: Dropout = None
  ) -> Float[Array, 'b d']:
    """Runs one network and returns its outputs; arguments are those of `forward`."""
    return self.forward(params, inputs, dropout)[0]

  @property
  def name(self) -> str:
    """The plug-in that a config names: a file of `wsjax.models`, or 'module:Class'."""
    module, own = type(self).__module__, __name__.rpartition('.')[0]
    if module.startswith(f'{own}.'):
      return module.removeprefix(f'{own}.')
    return f'{module}:{type(self).__qualname__}'

  @property
  def config(self) -> dict[str, Any]:
    """The fields as JSON values."""
    fields: Any = self  # Subclasses are dataclasses.
    return json.loads(json.dumps(dataclasses.asdict(fields)))

  @property
  def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Path -> shape and dtype of every parameter."""
    return {
      leaf.path: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(self.DTYPE))
      for leaf in self.spec.leaves
    }

  def num_outputs(self, inputs: Any) -> int:
    """Number of outputs for inputs [b, ...]; nothing is computed."""
    return jax.eval_shape(self.apply, self.shapes, inputs).shape[-1]

  def flatten(self, tree: typing.PyTree) -> typing.Params:
    """Names the parameters of the library's own form by their paths."""
    return dict(tree)

  def unflatten(self, params: typing.Params) -> typing.PyTree:
    """Gives parameters the form that the model's own library takes."""
    return dict(params)

  @staticmethod
  def from_flax(module: Any, example: Any, **options: Any) -> 'Model':
    """Wraps a Flax linen module; see `convert.from_flax`."""
    return _convert().from_flax(module, example, **options)

  @staticmethod
  def from_nnx(module: Any, example: Any, **options: Any) -> 'Model':
    """Wraps a Flax nnx module, or a function from `rngs` to one; see `convert.from_nnx`."""
    return _convert().from_nnx(module, example, **options)

  @staticmethod
  def from_equinox(module: Any, example: Any, **options: Any) -> 'Model':
    """Wraps an Equinox module, or a function from a key to one; see `convert.from_equinox`."""
    return _convert().from_equinox(module, example, **options)

  @staticmethod
  def from_haiku(transformed: Any, example: Any, **options: Any) -> 'Model':
    """Wraps functions that `haiku.transform` gave; see `convert.from_haiku`."""
    return _convert().from_haiku(transformed, example, **options)

  @staticmethod
  def from_function(
    apply: Callable[..., Any], params: typing.PyTree, example: Any, **options: Any
  ) -> 'Model':
    """Wraps `apply(params, inputs)`; see `convert.from_function`."""
    return _convert().from_function(apply, params, example, **options)


def from_record(name: str, config: Mapping[str, Any]) -> Model:
  """Builds the model that a checkpoint record names.

  Only models of this package are built: a record of a stranger must not choose what is imported.

  Args:
    name: file of `wsjax.models`.
    config: its fields.

  Raises:
    ValueError: if there is no such model or it takes other fields.
  """
  try:
    return config_lib.build('models', {**dict(config), 'name': name}, foreign=False)
  except (TypeError, OverflowError) as error:
    raise ValueError(f'Model {name!r} does not take {dict(config)}: {error}.') from error


@functools.cache
def _convert() -> Any:
  from wsjax.models import convert  # Imports this module.

  return convert
