"""What a prompted update is worth: loss, accuracy, and whose weights it has."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.spatial import distance as distance_lib

from wsjax import networks, typing
from wsjax.evaluation import methods, statistics, two_sample
from wsjax.models import model as model_lib

_NETS = 16  # Networks of one compiled call.

Table = dict[str, np.ndarray]


def work(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
) -> Table:
  """How networks do on images.

  Args:
    architecture: of the networks.
    params: path -> [n, ...].
    inputs: [m, ...] images.
    labels: [m] int classes.

  Returns:
    'loss' [n], mean cross-entropy in nats, and 'accuracy' [n].
  """
  x, y = jnp.asarray(inputs), jnp.asarray(labels, jnp.int32)
  loss, accuracy = networks.in_chunks(lambda chunk: _work(architecture, chunk, x, y), params, _NETS)
  return {'loss': loss, 'accuracy': accuracy}


@functools.partial(jax.jit, static_argnums=0)
def _work(
  architecture: model_lib.Model, params: typing.StackedParams, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
  def one(params: typing.Params) -> tuple[jax.Array, jax.Array]:
    logits = architecture.apply(params, x)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return loss.mean(), (logits.argmax(-1) == y).mean()

  return jax.lax.map(one, params)


def places(
  params: typing.StackedParams, own: typing.StackedParams, train: typing.StackedParams
) -> Table:
  """Where networks lie; Euclidean, units as they stand.

  Args:
    params: path -> [n, ...], from n starts.
    own: [n, ...] where the training run of each start ended.
    train: [T, ...] where the training runs ended.

  Returns:
    'own' [n], distance to the end of the own run; 'own_ratio' [n], the same over the mean distance
    to the ends of the others; 'own_nearest' [n],
    whether none of those is nearer; 'nearest' [n], distance to the nearest of `train`.
  """
  made, ends = methods.flatten(params), methods.flatten(own)
  table = distance_lib.cdist(made, ends)
  mine = np.diagonal(table)
  others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
  return {
    'own': mine.copy(),
    'own_ratio': mine / others.mean(1),
    'own_nearest': (mine < others.min(1)).astype(float),
    'nearest': distance_lib.cdist(made, methods.flatten(train)).min(1),
  }


def apart(train: typing.StackedParams) -> np.ndarray:
  """[T] distance of every training network to the nearest other one."""
  return two_sample.radii(methods.flatten(train), 1)


def mean(params: typing.StackedParams, count: int = 1) -> typing.StackedParams:
  """Mean of stacked networks, as `count` equal ones."""
  return {path: np.repeat(value.mean(0, keepdims=True), count, 0) for path, value in params.items()}


def scores(tables: list[Table], *, num_bootstrap: int, seed: int) -> dict[str, dict[str, Any]]:
  """Means with intervals over networks and, where there are more, seeds.

  Args:
    tables: of every training seed, metric -> [n].
    num_bootstrap: resamples.
    seed: of the resamples.

  Returns:
    metric -> entry of the report.
  """
  return {
    name: statistics.over_seeds(
      lambda s, rows, name=name: tables[s][name][rows].mean(),
      len(tables),
      len(tables[0][name]),
      num_bootstrap,
      seed,
    )
    for name in tables[0]
  }
