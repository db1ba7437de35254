"""A predictor: scaled weights, an encoder, a head."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks, typing
from wsjax.tokens import graph as graph_lib

_CPU_GROUP = 16  # Networks at once: what is computed of them stays in cache.


class Predictor(nn.Module):
  """From the weights of one network to the outputs of a head.

  Attributes:
    encoder: plug-in of `encoders`.
    head: plug-in of `heads`.
    scales: what weights are divided by before they are encoded, from `leaf_scales`; one number per
      leaf commutes with reordering, rescaling
      and negating its units. An encoder may say that it READS weights 'raw', as they are, or
      'both', the raw ones as `function`; else it is 'scaled'.
  """

  encoder: nn.Module
  head: nn.Module
  scales: tuple[tuple[str, Any], ...] = ()

  @nn.compact
  def __call__(
    self, example: typing.PyTree, *, train: bool = False, scales: Mapping[str, Any] | None = None
  ) -> jax.Array:
    """Weights, or the graph, of one network -> outputs of the head.

    Args:
      example: the network.
      train: whether there is dropout.
      scales: in place of the module's own, where they are not known before the program is traced.
    """
    reads, extra = getattr(self.encoder, 'READS', 'scaled'), {}
    if reads == 'both':
      extra['function'] = example  # Before it is divided: probes run it.
    if reads != 'raw':
      example = divide(example, dict(self.scales) if scales is None else scales)
    return self.head(self.encoder(example, train=train, **extra))


def divide(example: typing.PyTree, scales: Mapping[str, Any]) -> typing.PyTree:
  """One network in other units.

  Args:
    example: path -> array, or a placed graph.
    scales: path -> number; of a graph 'edges' and 'nodes' -> number of every kind. What has no
      entry stays.

  Returns:
    As `example`.
  """
  if not isinstance(example, graph_lib.WeightGraph):
    return {**example, **{path: example[path] / scale for path, scale in scales.items()}}
  return example.replace(
    **{
      name: getattr(example, name) / jnp.asarray(scale)[getattr(example, kinds)][:, None]
      for name, kinds, _ in _PARTS
      if (scale := scales.get(name)) is not None
    }
  )


# Of a graph: features, what kind each is of, and which are real.
_PARTS = (('edges', 'edge_kinds', 'edge_mask'), ('nodes', 'node_kinds', 'node_mask'))


def leaf_scales(
  params: typing.StackedParams | graph_lib.WeightGraph,
) -> tuple[tuple[str, Any], ...]:
  """Root mean square of every leaf over networks, for `Predictor.scales`.

  Args:
    params: path -> [N, ...] of the training split; or its placed graphs, of which a kind of edges
      or nodes is what a leaf is of weights.

  Returns:
    (path, root mean square) pairs; 1 where a leaf is 0 everywhere. Of graphs ('edges', one number
    per kind) and ('nodes', likewise), over the entries that are not 0: those are features that an
    architecture does not have.
  """
  if isinstance(params, graph_lib.WeightGraph):
    return tuple(
      (name, _kind_scales(*(np.asarray(getattr(params, x)) for x in part)))
      for part in _PARTS
      for name in part[:1]
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


def apply(predictor: Predictor, variables: typing.PyTree, examples: typing.PyTree) -> jax.Array:
  """Outputs for many networks, inside a compiled program.

  Args:
    predictor: the module.
    variables: of it.
    examples: arrays with leading axis [n].

  Returns:
    [n, ...] outputs of the head.
  """
  on_cpu = jax.default_backend() == 'cpu'
  return jax.lax.map(
    lambda example: predictor.apply(variables, example),
    examples,
    batch_size=_CPU_GROUP if on_cpu else len(jax.tree.leaves(examples)[0]),
  )


def predict(predictor: Predictor, variables: typing.PyTree, examples: typing.PyTree) -> np.ndarray:
  """Outputs for many networks, in batches of one size.

  Args:
    predictor: the module.
    variables: what training gave.
    examples: arrays with leading axis [N].

  Returns:
    [N, ...] outputs of the head, on the host.
  """
  run = jax.jit(functools.partial(apply, predictor))
  return networks.in_chunks(functools.partial(run, variables), examples)
