"""A predictor: scaled weights, an encoder, a head."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing

_BATCH = 128  # Networks per call where nothing is trained.


class Predictor(nn.Module):
  """From the weights of one network to the outputs of a head.

  Attributes:
    encoder: plug-in of `embed`.
    head: plug-in of `predict.heads`.
    scales: path -> what a leaf is divided by before it is encoded; one number
      per leaf commutes with reordering, rescaling and negating its units. An
      encoder with READS_FUNCTION gets the weights as they are.
  """

  encoder: nn.Module
  head: nn.Module
  scales: tuple[tuple[str, float], ...] = ()

  @nn.compact
  def __call__(
    self, example: typing.PyTree, *, train: bool = False
  ) -> jax.Array:
    """Weights, or the graph, of one network -> outputs of the head."""
    if not getattr(self.encoder, 'READS_FUNCTION', False):
      example = {
        **example,
        **{path: example[path] / scale for path, scale in self.scales},
      }
    return self.head(self.encoder(example, train=train))


def leaf_scales(
  params: typing.StackedParams,
) -> tuple[tuple[str, float], ...]:
  """Root mean square of every leaf over networks, for `Predictor.scales`.

  Args:
    params: path -> [N, ...] of the training split.

  Returns:
    (path, root mean square) pairs; 1 where a leaf is 0 everywhere.
  """
  return tuple(
    (path, float(np.sqrt(np.mean(np.square(value), dtype=np.float64))) or 1.0)
    for path, value in sorted(params.items())
  )


def predict(
  predictor: Predictor, variables: typing.PyTree, examples: typing.PyTree
) -> np.ndarray:
  """Outputs for many networks, in batches of one size.

  Args:
    predictor: the module.
    variables: what training gave.
    examples: arrays with leading axis [N].

  Returns:
    [N, ...] outputs of the head, on the host.
  """
  size = len(jax.tree.leaves(examples)[0])
  run = jax.jit(
    lambda variables, batch: jax.vmap(
      lambda example: predictor.apply(variables, example)
    )(batch)
  )
  outputs: list[Any] = []
  for start in range(0, size, _BATCH):
    # The last network again, so that one compiled program does all.
    rows = np.minimum(np.arange(start, start + _BATCH), size - 1)
    batch = jax.tree.map(lambda x, rows=rows: jnp.asarray(x[rows]), examples)
    outputs.append(np.asarray(run(variables, batch)))
  return np.concatenate(outputs)[:size]
