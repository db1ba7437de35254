"""Multilayer perceptron."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.models import parts
from wsjax.symmetry import spec as spec_lib


@dataclasses.dataclass(frozen=True)
class MLP(config_lib.Section, model_lib.Model):
  """An MLP on flattened inputs; parameters are 'layer0/kernel', 'layer0/bias', ...

  Attributes:
    widths: units of every layer, input and output included.
    activation: key of `parts.ACTIVATIONS`, behind every hidden layer.
    initializer: key of `parts.INITIALIZERS`.
    output_activation: key of `parts.OUTPUT_ACTIVATIONS`.

  Raises:
    ValueError: for fewer than two widths.
  """

  widths: tuple[config_lib.PositiveInt, ...] = (64, 32, 32, 10)
  activation: parts.Activation = 'relu'
  initializer: parts.Initializer = 'lecun_normal'
  output_activation: parts.OutputActivation = 'identity'

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
    return parts.init_params(key, self.spec, self.initializer)

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; inputs of more axes are flattened."""
    activation = parts.ACTIVATIONS[self.activation]
    outputs, hidden = dense_forward(
      params, inputs, len(self.widths) - 1, lambda x, i: parts.drop(activation(x), dropout, i)
    )
    return parts.OUTPUT_ACTIVATIONS[self.output_activation](outputs), hidden


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
