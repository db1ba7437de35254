"""Methods that see what the layers of networks read: RegMean, REPAIR and Fisher averages."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.fusion import activations

Apply = Callable[..., Any]


def regmean(
  apply: Apply,
  params: typing.StackedParams,
  data: Sequence[np.ndarray],
  *,
  shrink: float = 1.0,
  ridge: float = 1e-6,
  propagate: bool = False,
) -> dict[str, np.ndarray]:
  """Layers whose products are nearest, in least squares, to those of the networks at their data.

  A layer with features X_i in network i becomes (sum X_i' X_i)^-1 sum X_i' X_i W_i, with its bias
  as the weight of a feature of ones. With `propagate` its inputs are those that the merged network
  itself gives it, once the layers before are merged: the products X_i W_i of the networks are
  fitted from them. Parameters that belong to no layer are averaged.

  Args:
    apply: (params of one network, inputs) -> outputs.
    params: N networks, path -> [N, ...].
    data: inputs [b, ...] of each network; no labels.
    shrink: factor of the off-diagonal entries of X_i' X_i, from 0 to 1.
    ridge: added to its diagonal, in units of the mean diagonal.
    propagate: whether features of the merged network are used.

  Source: Jin et al. 2023, arXiv:2212.09849; Nguyen et al. 2025, arXiv:2508.03121 (RegMean++, which
  re-propagates).
  """
  merged = mean(params)
  one = {path: x[0] for path, x in params.items()}
  count = networks_lib.length(params)
  found = activations.layers(apply, one, data[0])
  own = _of_each(apply, params, data)
  for layer in found:
    gram, cross = 0.0, 0.0
    stacked = {path: x[None] for path, x in merged.items()}
    theirs = None
    if propagate:  # Networks may share their data.
      theirs = {id(x): _features(apply, stacked, x) for x in {id(x): x for x in data}.values()}
    for i in range(count):
      features = _with_ones(own[i][layer.kernel], layer)
      target = features @ _matrix(layer, params, i)
      inputs = features if theirs is None else _with_ones(theirs[id(data[i])][layer.kernel], layer)
      scale = 1 / len(inputs)
      if theirs is None and shrink < 1:
        own_gram = features.T @ features * scale
        own_gram = shrink * own_gram + (1 - shrink) * np.diag(np.diag(own_gram))
        gram = gram + own_gram
        cross = cross + own_gram @ _matrix(layer, params, i)
      else:
        gram, cross = gram + inputs.T @ inputs * scale, cross + inputs.T @ target * scale
    # Towards the mean, not towards 0.
    pull = ridge * np.trace(gram) / len(gram)
    start = _matrix(layer, stacked, 0)
    solved = np.linalg.solve(gram + pull * np.eye(len(gram)), cross + pull * start)
    _put(merged, layer, solved)
  return merged


def mean(params: typing.StackedParams) -> dict[str, np.ndarray]:
  """The average network of a stack."""
  return {
    path: np.asarray(x).mean(0, dtype=np.float64).astype(x.dtype) for path, x in params.items()
  }


def _features(
  apply: Apply, params: typing.StackedParams, inputs: np.ndarray
) -> dict[str, np.ndarray]:
  """What the layers of the first network of a stack read."""
  found = activations.stacked_features(apply, params, jnp.asarray(inputs))
  return {path: np.asarray(x[0], np.float64) for path, x in found.items()}


def _of_each(
  apply: Apply, params: typing.StackedParams, data: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
  """What the layers of every network read at its data."""
  return [
    _features(apply, networks_lib.take(params, slice(i, i + 1)), x) for i, x in enumerate(data)
  ]


def _with_ones(features: np.ndarray, layer: activations.Layer) -> np.ndarray:
  if layer.bias is None:
    return features
  return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _matrix(layer: activations.Layer, params: typing.StackedParams, i: int) -> np.ndarray:
  """Kernel, and bias below it, of a network as [features, outputs]."""
  matrix = layer.matrix(np.asarray(params[layer.kernel][i], np.float64))
  if layer.bias is None:
    return matrix
  return np.concatenate([matrix, np.asarray(params[layer.bias][i], np.float64).reshape(1, -1)])


def _put(merged: dict[str, np.ndarray], layer: activations.Layer, matrix: np.ndarray) -> None:
  kernel = merged[layer.kernel]
  rows = matrix if layer.bias is None else matrix[:-1]
  merged[layer.kernel] = np.ascontiguousarray(
    layer.kernel_of(rows, kernel.shape), dtype=kernel.dtype
  )
  if layer.bias is not None:
    bias = merged[layer.bias]
    merged[layer.bias] = matrix[-1].reshape(bias.shape).astype(bias.dtype)


def repair(
  apply: Apply, merged: typing.Params, params: typing.StackedParams, data: np.ndarray
) -> dict[str, np.ndarray]:
  """Gives the products of every layer the mean and deviation that networks have on average.

  Layer after layer, kernel and bias of each output are scaled and shifted. Layers without a bias
  are scaled only.

  Args:
    apply: (params of one network, inputs) -> outputs.
    merged: the network that is repaired.
    params: the N networks that it was made of, path -> [N, ...], aligned.
    data: inputs [b, ...].

  Source: Jordan et al. 2023, arXiv:2211.08403.
  """
  merged = {path: np.asarray(x) for path, x in merged.items()}
  count = networks_lib.length(params)
  found = activations.layers(apply, merged, data)
  own = _of_each(apply, params, [data] * count)
  for layer in found:
    products = [
      _with_ones(own[i][layer.kernel], layer) @ _matrix(layer, params, i) for i in range(count)
    ]
    centre = np.mean([x.mean(0) for x in products], axis=0)
    spread = np.mean([x.std(0) for x in products], axis=0)
    stacked = {path: x[None] for path, x in merged.items()}
    matrix = _matrix(layer, stacked, 0)
    product = _with_ones(_features(apply, stacked, data)[layer.kernel], layer) @ matrix
    deviation = product.std(0)
    factor = np.where(deviation > 1e-8, spread / np.maximum(deviation, 1e-8), 1.0)
    matrix = matrix * factor
    if layer.bias is not None:
      matrix[-1] += centre - product.mean(0) * factor
    _put(merged, layer, matrix)
  return merged


def fisher(
  apply: Apply,
  params: typing.StackedParams,
  data: Sequence[np.ndarray],
  *,
  seed: int = 0,
  floor: float = 1e-6,
  weight: Sequence[float] | None = None,
) -> dict[str, np.ndarray]:
  """Mean of networks in which every weight counts by its diagonal Fisher information.

  Labels are drawn from what each network predicts, so none are needed.

  Args:
    apply: (params of one network, inputs) -> logits [b, classes].
    params: N networks, path -> [N, ...].
    data: inputs [b, ...] of each network.
    seed: of the labels.
    floor: added to the information, in units of its mean.
    weight: of each network.

  Source: Matena and Raffel 2022, arXiv:2111.09832.
  """
  count = networks_lib.length(params)
  weights = [1.0] * count if weight is None else list(weight)
  keys = jax.random.split(jax.random.key(seed), count)
  total: dict[str, Any] = {}
  divisor: dict[str, Any] = {}
  for i in range(count):
    net = {path: jnp.asarray(x[i]) for path, x in params.items()}
    found = _information(apply, net, jnp.asarray(data[i]), keys[i])
    size = sum(float(x.sum()) for x in found.values()) / sum(x.size for x in found.values())
    for path, x in found.items():
      information = weights[i] * (np.asarray(x, np.float64) + floor * max(size, 1e-30))
      total[path] = total.get(path, 0) + information * np.asarray(params[path][i])
      divisor[path] = divisor.get(path, 0) + information
  return {path: (total[path] / divisor[path]).astype(params[path].dtype) for path in params}


@functools.partial(jax.jit, static_argnums=0)
def _information(
  apply: Apply, net: typing.Params, inputs: jax.Array, key: jax.Array
) -> Mapping[str, jax.Array]:
  """Mean squared gradient of the log-probability of labels that the network draws itself."""

  def score(net: typing.Params, x: jax.Array, key: jax.Array) -> jax.Array:
    log = jax.nn.log_softmax(apply(net, x[None])[0])
    label = jax.random.categorical(key, jax.lax.stop_gradient(log))
    return log[label]

  def step(total: Any, given: tuple) -> tuple[Any, None]:
    squares = jax.tree.map(jnp.square, jax.grad(score)(net, *given))
    return jax.tree.map(jnp.add, total, squares), None

  keys = jax.random.split(key, len(inputs))
  zeros = jax.tree.map(jnp.zeros_like, dict(net))
  total, _ = jax.lax.scan(step, zeros, (inputs, keys))
  return jax.tree.map(lambda x: x / len(inputs), total)
