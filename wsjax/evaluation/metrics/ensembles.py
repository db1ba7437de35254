"""Ensembles: is the mean prediction of several networks better than one?

Networks that differ in their mistakes gain, copies of one network do not. Bad networks have more to
gain: compare arms at equal accuracy.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, statistics
from wsjax.evaluation.metrics import calibration
from wsjax.models import model as model_lib

SIZES = (4, 16)


def log_probabilities(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: typing.Array,
  *,
  nets_per_call: int = 32,
) -> np.ndarray:
  """Class probabilities of N networks.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    inputs: [n, ...].
    nets_per_call: networks that one call of the compiled program takes.

  Returns:
    [N, n, c] float32 natural logarithms; uniform where the output is not finite.
  """
  count = len(next(iter(params.values())))
  inputs = np.asarray(inputs, np.float32)
  parts = [
    np.asarray(_call(architecture, chunk, inputs))
    for chunk in methods.chunks(params, nets_per_call)
  ]
  return np.concatenate(parts)[:count]


def draw(groups: np.ndarray, size: int, *, seed: int = 0) -> np.ndarray:
  """Members of ensembles: every network is in one, or left over.

  Args:
    groups: [N] which seed made each network; members are of one seed.
    size: networks k of an ensemble.
    seed: of the draw.

  Returns:
    [e, k] places of networks; e is 0 where no seed has k networks.
  """
  rng = np.random.default_rng(seed)
  members = []
  for group in np.unique(groups):
    places = rng.permutation(np.flatnonzero(groups == group))
    whole = len(places) // size
    members.append(places[: whole * size].reshape(whole, size))
  return np.concatenate(members)


def metrics(
  log_p: np.ndarray,
  labels: np.ndarray,
  groups: np.ndarray,
  resampler: statistics.Resampler,
  *,
  sizes: tuple[int, ...] = SIZES,
  seed: int = 0,
) -> dict[str, Any]:
  """Accuracy, likelihood and calibration of the mean prediction.

  Args:
    log_p: [N, n, c] from `log_probabilities`.
    labels: [n] int classes.
    groups: [N] which seed made each network.
    resampler: for the intervals, over ensembles and items.
    sizes: numbers k of members.
    seed: of who joins whom.

  Returns:
    metric -> entry of the report, n counting ensembles: for each k 'ensemble<k>_accuracy', '_nll'
    (nats), '_gain' (mean NLL of the members minus that of the ensemble, nats; at least 0 by Jensen)
    and '_ece'.

  Source: Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4 (mean of probabilities).
  """
  result = {}
  for size in sizes:
    members = draw(groups, size, seed=seed)
    if not len(members):
      reason = statistics.not_run(f'no seed has {size} networks')
      result |= {f'ensemble{size}_{key}': reason for key in ('accuracy', 'nll', 'gain', 'ece')}
      continue
    result |= {
      f'ensemble{size}_{key}': entry
      for key, entry in _entries(log_p[members], labels, groups[members[:, 0]], resampler).items()
    }
  return result


def _entries(
  log_p: np.ndarray, labels: np.ndarray, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Entries of e ensembles [e, k, n, c], made by seeds `groups` [e]."""
  p = np.mean(np.exp(log_p, dtype=np.float64), axis=1)
  item = np.arange(len(labels))
  right = np.argmax(p, axis=-1) == labels[None]
  nll = -np.log(np.maximum(p[:, item, labels], 1e-30))
  single = -np.mean(log_p[:, :, item, labels], axis=1, dtype=np.float64)
  confidence = np.max(p, axis=-1)
  bins = np.asarray(calibration.bin_weights(confidence))
  ece = calibration.expected_calibration_error(
    np.einsum('ei,eib->eb', right, bins), np.einsum('ei,eib->eb', confidence, bins), len(labels)
  )
  return {
    'accuracy': statistics.two_way(right, groups, resampler),
    'nll': statistics.two_way(nll, groups, resampler),
    'gain': statistics.two_way(single - nll, groups, resampler),
    'ece': statistics.over_nets(np.asarray(ece), groups, resampler),
  }


@functools.partial(jax.jit, static_argnames='architecture')
def _call(
  architecture: model_lib.Model, params: typing.StackedParams, inputs: jax.Array
) -> jax.Array:
  logits = jax.vmap(architecture.apply, (0, None))(params, inputs)
  finite = jnp.all(jnp.isfinite(logits), axis=-1, keepdims=True)
  return jax.nn.log_softmax(jnp.where(finite, logits, 0.0))
