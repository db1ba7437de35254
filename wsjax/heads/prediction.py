"""Predictor of properties of networks: scaled weights, an encoder, a head."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import networks, typing
from wsjax.tokens import graph as graph_lib

_CPU_GROUP = 16  # Networks at once: what is computed of them stays in cache.


class Predictor(nn.Module):
  """Prediction of a property from the weights of one network.

  Attributes:
    encoder: plug-in of `encoders`; its `READS` says which weights it gets.
    head: plug-in of `heads`.
    scales: divisors of the weights, from `parameter_scales`. One number per parameter commutes
      with every symmetry but a phase shift.
  """

  encoder: nn.Module
  head: nn.Module
  scales: tuple[tuple[str, Any], ...] = ()

  @nn.compact
  def __call__(
    self, example: typing.PyTree, *, train: bool = False, scales: Mapping[str, Any] | None = None
  ) -> Float[Array, ' outputs']:
    """Outputs of the head for the weights of one network, or its graph.

    `scales` replace the module's own, where they are not known before the program is traced.
    """
    reads, extra = getattr(self.encoder, 'READS', 'scaled'), {}
    if reads == 'both':
      extra['raw'] = example
    if reads != 'raw':
      example = divide(example, dict(self.scales) if scales is None else scales)
    return self.head(self.encoder(example, train=train, **extra))


def divide(example: typing.PyTree, scales: Mapping[str, Any]) -> typing.PyTree:
  """Divides the weights of one network, or its graph, by `parameter_scales`; others stay."""
  if not isinstance(example, graph_lib.WeightGraph):
    return {**example, **{path: example[path] / scale for path, scale in scales.items()}}
  return example.replace(
    **{
      name: getattr(example, name) / jnp.asarray(scale)[getattr(example, kinds)][:, None]
      for name, kinds, _ in _PARTS
      if (scale := scales.get(name)) is not None
    }
  )


# Features of a graph, their kinds, and which of them are real.
_PARTS = (('edges', 'edge_kinds', 'edge_mask'), ('nodes', 'node_kinds', 'node_mask'))


def parameter_scales(
  params: typing.StackedParams | graph_lib.WeightGraph,
) -> tuple[tuple[str, Any], ...]:
  """Root mean square of every parameter over networks, for `Predictor.scales`.

  Args:
    params: path -> [N, ...] of the training split; or its graphs, [N] of them.

  Returns:
    (path, root mean square) pairs; 1 for a parameter that is 0 everywhere. For graphs ('edges', one
    number per kind) and ('nodes', likewise), over the entries that are not 0.
  """
  if isinstance(params, graph_lib.WeightGraph):
    return tuple(
      (part[0], _kind_scales(*(np.asarray(getattr(params, x)) for x in part))) for part in _PARTS
    )
  return tuple(
    (path, float(np.sqrt(np.mean(np.square(value), dtype=np.float64))) or 1.0)
    for path, value in sorted(params.items())
  )


def _kind_scales(values: np.ndarray, kinds: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
  """[N, n, k] features, [N, n] kinds and masks -> a number for every kind."""
  scales = []
  for kind in range(kinds.max() + 1):
    own = values[mask & (kinds == kind)].astype(np.float64)
    own = own[own != 0]
    scales.append(float(np.sqrt(np.mean(own**2))) if own.size else 1.0)
  return tuple(scales)


def apply(
  predictor: Predictor, variables: typing.PyTree, examples: typing.PyTree
) -> Float[Array, 'n outputs']:
  """Outputs for many networks, arrays with leading axis [n], inside a compiled program."""
  on_cpu = jax.default_backend() == 'cpu'
  return jax.lax.map(
    lambda example: predictor.apply(variables, example),
    examples,
    batch_size=_CPU_GROUP if on_cpu else len(jax.tree.leaves(examples)[0]),
  )


def predict(
  predictor: Predictor, variables: typing.PyTree, examples: typing.PyTree
) -> Float[np.ndarray, 'n outputs']:
  """Outputs for many networks, on the host; they are computed in batches of one size."""
  run = jax.jit(functools.partial(apply, predictor))
  return networks.in_chunks(functools.partial(run, variables), examples)
