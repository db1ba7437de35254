"""Membership by likelihood: whether the density of a generator knows its training networks."""

import inspect
from typing import Any

import jax
import numpy as np

from wsjax import typing
from wsjax.evaluation.metrics import membership
from wsjax.experiments.generation import prepare

# Random directions of an estimated divergence.
_PROBES = 4


def check(data: prepare.Prepared, generator: Any) -> None:
  """Raises ValueError unless likelihoods of training and held-out networks can be compared."""
  if not hasattr(generator, 'log_prob') or data.heldout_latents is None:
    held = 'has' if data.heldout_latents is not None else 'has no'
    raise ValueError(
      'evaluate.membership needs a generator with log_prob and a zoo with a split test; got '
      f'{type(generator).__name__}, and the zoo {held} such split.'
    )


def compare(
  data: prepare.Prepared, generator: Any, params: typing.PyTree, *, seed: int, num_bootstrap: int
) -> dict[str, Any]:
  """Compares log-densities of training and of held-out networks.

  Args:
    data: the zoo in the form that the generator was trained on.
    generator: one that `check` accepts.
    params: of the generator.
    seed: of its training, and of estimated divergences.
    num_bootstrap: resamples of the interval.

  Returns:
    'auc', the chance that a training network has the higher density, with its interval; 'seed';
    median log-densities 'train' and 'heldout', nats per latent or None.
  """
  options: dict[str, Any] = {}
  if 'trace' in inspect.signature(generator.log_prob).parameters:
    options = dict(trace='hutchinson', num_probes=_PROBES, key=jax.random.key(seed))

  def density(latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    found = generator.log_prob(params, latents, condition, **options)
    return np.asarray(found) / latents[0].size

  num = data.num_train  # Snapshots are of another population.
  condition = None if data.condition is None else data.condition[:num]
  train = density(data.latents[:num], condition)
  heldout = density(data.heldout_latents, data.heldout_condition)
  return {
    'auc': membership.auc(train, heldout, num_bootstrap=num_bootstrap, seed=seed),
    'seed': seed,
    'train': _median(train),
    'heldout': _median(heldout),
  }


def sentence(found: dict[str, Any]) -> str:
  """Describes a comparison."""
  auc = found['auc']
  return (
    f'train/seed{found["seed"]}: the median log-density per latent is {found["train"]} for '
    f'training and {found["heldout"]} for held-out networks; that of a training network is higher '
    f'with probability {auc["value"]:.2f} [{auc["low"]:.2f}, {auc["high"]:.2f}], chance 0.5.'
  )


def _median(densities: np.ndarray) -> float | None:
  """Rounded; None where most networks have density 0, which JSON lacks."""
  value = float(np.median(densities))
  return round(value, 3) if np.isfinite(value) else None
