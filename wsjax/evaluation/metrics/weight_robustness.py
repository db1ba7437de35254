"""Robustness of the weights: noise, rounding and pruning.

Everything is done to canonical forms, with one noise for all networks: rescaling a neuron changes
no function, but makes the same noise harmless or fatal.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import predictions
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Metric, Stat, metric
from wsjax.evaluation.reference import Reference
from wsjax.models import model as model_lib

LIMIT = (64, 512)
# Size of the noise, as a share of the norm of each filter, and draws of it.
NOISE = 0.1
NUM_DRAWS = 4
BITS = (8, 4)
PRUNED = 0.5
GROUP = 'Robustness to changes of weights'
_DEAD = 'A network at chance has nothing to lose.'


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
  """Predictions of N networks on n items before and after their weights change.

  Attributes:
    right: change -> [N, n] bool; 'none' is before.
    nll: change -> [N, n] negative log likelihood, nats.
  """

  right: dict[str, np.ndarray]
  nll: dict[str, np.ndarray]


def filter_noise(key: jax.Array, params: typing.Params, share: float) -> dict[str, jax.Array]:
  """Adds noise whose norm is a `share` of that of each filter, the incoming weights of a neuron.

  A filter is a slice of a parameter along its last axis; of a bias it is one number.

  Source: Li et al. 2018, arXiv:1712.09913, section 4 (filter normalisation).
  """
  params = {path: jnp.asarray(value) for path, value in params.items()}
  # One draw, cut up: a draw per parameter takes seconds to compile.
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
  """Rounds kernels to even steps of signed integers, the largest weight to 2^(bits - 1) - 1.

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
  """Sets the `share` of smallest weights of every kernel to 0."""

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
  """Changes the canonical forms of N networks, path -> [N, ...], in every way and runs them.

  Args:
    architecture: of all networks; its outputs are logits.
    canonical: the networks.
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


@once
def changes(method: Sample) -> Changes:
  """Predictions of the finite networks before and after all changes of canonical forms."""
  finite, reference = method.finite, method.reference
  return change(
    reference.architecture, finite.canonical, finite.device_items, finite.y, seed=reference.seed
  )


@once
def rise(method: Sample) -> np.ndarray:
  """[draws, N, n] increase of the loss by each draw of noise, nats."""
  nll = changes(method).nll
  return np.stack([nll[key] - nll['none'] for key in nll if key.startswith('noise')])


@metric(
  'loss added by weight noise', '.3f', better='lower', heading='noise +nats', unit='nats',
  doc='Increase of the test loss when every filter of the canonical form gets noise of '
  f'{NOISE:.0%} of its norm, mean over draws. {_DEAD}',
)  # fmt: skip
def weight_noise_nll(method: Sample, reference: Reference) -> Stat:
  """Increase of the loss by weight noise."""
  return method.finite.mean(rise(method).mean(axis=0))


@metric(
  'loss added by the worst noise', '.3f', better='lower', heading='worst noise +nats', unit='nats',
  doc=f'Increase of the test loss by the worst of {NUM_DRAWS} draws, which all networks share.',
)  # fmt: skip
def weight_noise_worst_nll(method: Sample, reference: Reference) -> Stat:
  """Increase of the loss by the worst draw for each network."""
  worst = np.argmax(rise(method).mean(axis=2), axis=0)
  return method.finite.mean(rise(method)[worst, np.arange(len(worst))])


def _drop(key: str, label: str, format: str, heading: str, doc: str) -> Metric:
  """Accuracy lost by one change."""

  @metric(
    f'accuracy lost to {label}', format, name=f'weight_{key}_drop', better='lower', heading=heading,
    doc=f'Accuracy lost when {doc}. {_DEAD}',
  )  # fmt: skip
  def measure(method: Sample, reference: Reference) -> Stat:
    right = changes(method).right
    return method.finite.mean(right['none'].astype(np.float32) - right[key])

  return measure


METRICS = (
  *(
    _drop(f'int{bits}', f'{bits} bits', '.2%', f'{bits} bits −',
          f'the kernels of the canonical form are rounded to {bits} bits')
    for bits in BITS
  ),
  _drop('prune', 'pruning', '.1%', 'half pruned −',
        'the smaller half of the weights of every kernel is set to 0'),
)  # fmt: skip


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
  """Applies a function to every parameter that is more than a vector."""
  return {
    path: function(jnp.asarray(value)) if np.ndim(value) > 1 else value
    for path, value in params.items()
  }
