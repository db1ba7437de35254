"""Multilayer perceptron, with every symmetry of its hidden units."""

import jax

from wsjax import typing
from wsjax.models import architecture
from wsjax.symmetry import spec as spec_lib


def make(
  widths: tuple[int, ...] = (64, 32, 32, 10),
  activation: str = 'relu',
  init: str = 'lecun_normal',
  output_activation: str = 'identity',
) -> architecture.Architecture:
  """An MLP on flattened inputs.

  Args:
    widths: units of every layer, input and output included.
    activation: key of `architecture.ACTIVATIONS`, after every hidden layer.
    init: key of `architecture.INITS`.
    output_activation: key of `architecture.OUTPUT_ACTIVATIONS`.

  Returns:
    The architecture; leaves are 'layer0/kernel', 'layer0/bias', ...

  Raises:
    ValueError: for an unknown activation or init; or fewer than two widths.
  """
  widths = tuple(int(width) for width in widths)
  if len(widths) < 2:
    raise ValueError(f'An MLP needs input and output widths; got {widths}.')
  architecture.check_init(init)
  architecture.check_output_activation(output_activation)
  depth = len(widths) - 1
  ids = [None, *(f'hidden{i}' for i in range(depth - 1)), None]
  groups = architecture.hidden_groups(dict(zip(ids[1:-1], widths[1:-1], strict=True)), activation)
  leaves = tuple(
    leaf
    for i in range(depth)
    for leaf in spec_lib.dense(
      f'layer{i}', widths[i], widths[i + 1], reads=ids[i], feeds=ids[i + 1]
    )
  )
  spec = spec_lib.Spec(groups, leaves)
  nonlinearity = architecture.ACTIVATIONS[activation]
  outputs = architecture.OUTPUT_ACTIVATIONS[output_activation]
  config = {'widths': list(widths), 'activation': activation, 'init': init}
  if output_activation != 'identity':
    config['output_activation'] = output_activation

  def forward(
    params: typing.Params, inputs: typing.Array, dropout: architecture.Dropout = None
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    # Features first, examples last: under vmap over networks the small products then have the long
    # axis contiguous, which is faster on CPU.
    x = inputs.reshape(inputs.shape[0], -1).T
    hidden = {}
    for i in range(depth):
      x = params[f'layer{i}/kernel'].T @ x + params[f'layer{i}/bias'][:, None]
      if i < depth - 1:
        x = architecture.drop(nonlinearity(x), dropout, i)
        hidden[ids[i + 1]] = x.T
    return outputs(x.T), hidden

  return architecture.Architecture(
    name='mlp',
    config=config,
    spec=spec,
    init=lambda key: architecture.init_params(key, spec, init),
    apply=lambda *args: forward(*args)[0],
    forward=forward,
    activation=activation,
  )
