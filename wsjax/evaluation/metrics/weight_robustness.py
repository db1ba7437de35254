"""Robustness of the weights: noise, rounding and pruning.

The function of a network does not say how large its weights are, unit by unit: a rescaling that
changes nothing makes the same noise harmless or fatal. So all is done to canonical forms, with the
same noise for every network.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import predictions, statistics
from wsjax.models import model as model_lib

# Size of the noise, as a share of the norm of each filter, and draws of it.
NOISE = 0.1
NUM_DRAWS = 4
BITS = (8, 4)
PRUNED = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
  """What N networks say on n items before and after their weights change.

  Attributes:
    right: change -> [N, n] bool; 'none' is before.
    nll: change -> [N, n] negative log likelihood, nats.
  """

  right: dict[str, np.ndarray]
  nll: dict[str, np.ndarray]


def filter_noise(key: jax.Array, params: typing.Params, share: float) -> dict[str, jax.Array]:
  """Adds noise whose norm is a share of the norm of each filter.

  A filter is what feeds one unit: a slice of a leaf along its last axis. Of a bias it is one
  number, which moves up or down by that share.

  Args:
    key: one key.
    params: weights of one network.
    share: norm of the noise over that of the filter.

  Returns:
    Weights with noise.

  Source: Li et al. 2018, arXiv:1712.09913, section 4 (filter normalisation).
  """
  params = {path: jnp.asarray(value) for path, value in params.items()}
  # One draw, cut into leaves: a draw per leaf takes seconds to compile.
  sizes = {path: params[path].size for path in sorted(params)}
  draws = jax.random.normal(key, (sum(sizes.values()),))
  noisy, start = {}, 0
  for path, size in sizes.items():
    value = params[path]
    draw = draws[start : start + size].reshape(value.shape)
    start += size
    axes = tuple(range(value.ndim - 1))

    def norm(x: jax.Array) -> jax.Array:
      return jnp.sqrt(jnp.sum(x**2, axis=axes, keepdims=True))

    noisy[path] = value + share * draw * norm(value) / norm(draw)
  return noisy


def quantise(params: typing.Params, bits: int) -> dict[str, jax.Array]:
  """Rounds every kernel to the even steps of signed integers.

  Args:
    params: weights of one network.
    bits: of the integers, at least 2; the largest weight of a kernel is the largest of them,
      2^(bits - 1) - 1. Vectors, such as biases, are kept.

  Returns:
    Rounded weights.

  Raises:
    ValueError: if bits < 2.
  """
  if bits < 2:
    raise ValueError(f'A signed integer needs 2 bits or more; got {bits}.')
  top = 2 ** (bits - 1) - 1

  def rounded(value: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(value))
    step = jnp.where(largest > 0, largest, 1) / top
    return jnp.round(value / step) * step

  return _kernels(rounded, params)


def prune(params: typing.Params, share: float) -> dict[str, jax.Array]:
  """Sets the smallest weights of every kernel to 0.

  Args:
    params: weights of one network.
    share: of the weights of each kernel; vectors are kept.

  Returns:
    Pruned weights.
  """

  def pruned(value: jax.Array) -> jax.Array:
    size = jnp.abs(value)
    return jnp.where(size >= jnp.quantile(size, share), value, 0)

  return _kernels(pruned, params)


def change(
  architecture: model_lib.Model,
  canonical: typing.StackedParams,
  items: predictions.Items,
  labels: np.ndarray,
  *,
  noise: float = NOISE,
  num_draws: int = NUM_DRAWS,
  seed: int = 0,
) -> Changes:
  """Changes N networks in every way and runs them.

  Args:
    architecture: of all networks; its outputs are logits.
    canonical: path -> [N, ...] canonical forms.
    items: n test items.
    labels: [n] int classes of the items.
    noise: size of the noise, as a share of each filter.
    num_draws: of the noise; each is the same for all networks.
    seed: of the draws.

  Returns:
    Predictions before and after: 'none', 'noise0', ..., 'int8', 'int4' and 'prune'.
  """
  keys = jax.random.split(jax.random.key(seed), num_draws)
  changed = _change(dict(canonical), keys, jnp.float32(noise))
  stacked = {
    path: np.concatenate([np.asarray(nets[path]) for nets in changed.values()])
    for path in canonical
  }
  predicted = predictions.predict(architecture, stacked, items)
  right = predicted.labels == labels[None]
  count = len(changed)
  return Changes(
    dict(zip(changed, np.split(right, count), strict=True)),
    dict(zip(changed, np.split(predicted.nll, count), strict=True)),
  )


def metrics(
  changes: Changes, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Robustness of the weights of an arm.

  Args:
    changes: predictions of its N networks on n items.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'weight_noise_nll' and 'weight_noise_worst_nll', increase of the
    loss in the mean and by the worst draw for each network, nats; 'weight_<change>_drop' of int8,
    int4, prune, loss of accuracy.
  """
  draws = [key for key in changes.nll if key.startswith('noise')]
  rise = np.stack([changes.nll[key] - changes.nll['none'] for key in draws])
  worst = np.argmax(rise.mean(axis=2), axis=0)
  worst_rise = rise[worst, np.arange(len(worst))]

  def lost(key: str) -> dict[str, Any]:
    table = changes.right['none'].astype(np.float32) - changes.right[key]
    return statistics.two_way(table, groups, resampler)

  return {
    'weight_noise_nll': statistics.two_way(rise.mean(axis=0), groups, resampler),
    'weight_noise_worst_nll': statistics.two_way(worst_rise, groups, resampler),
    **{f'weight_int{bits}_drop': lost(f'int{bits}') for bits in BITS},
    'weight_prune_drop': lost('prune'),
  }


@jax.jit
def _change(
  canonical: typing.StackedParams, keys: jax.Array, noise: jax.Array
) -> dict[str, typing.StackedParams]:
  """Change -> changed networks; one program for all."""
  noisy = jax.vmap(lambda key: jax.vmap(lambda net: filter_noise(key, net, noise))(canonical))(keys)
  changed = {'none': canonical}
  for number in range(len(keys)):
    changed[f'noise{number}'] = {path: value[number] for path, value in noisy.items()}
  for bits in BITS:
    changed[f'int{bits}'] = jax.vmap(functools.partial(quantise, bits=bits))(canonical)
  changed['prune'] = jax.vmap(functools.partial(prune, share=PRUNED))(canonical)
  return changed


def _kernels(
  function: Callable[[jax.Array], jax.Array], params: typing.Params
) -> dict[str, jax.Array]:
  """Applies a function to every leaf that is more than a vector."""
  return {
    path: function(jnp.asarray(value)) if np.ndim(value) > 1 else value
    for path, value in params.items()
  }
