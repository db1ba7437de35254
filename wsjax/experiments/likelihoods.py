"""Whether the density of a generator knows the networks it was trained on."""

import inspect
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import typing
from wsjax.evaluation.metrics import membership
from wsjax.experiments import prepare

# Random directions of a divergence that is estimated.
_PROBES = 4


def compare(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  generator: Any,
  params: typing.PyTree,
  seed: int,
) -> dict[str, Any]:
  """Likelihoods of training and of held-out networks.

  Args:
    config: of the run.
    prepared: its zoo.
    generator: one that `check` has nothing against.
    params: of the generator.
    seed: of its training, and of what is estimated.

  Returns:
    'auc', an entry of the report; 'seed'; median log-densities 'train' and 'heldout', nats per
    latent or None.
  """
  options: dict[str, Any] = {}
  if 'trace' in inspect.signature(generator.log_prob).parameters:
    options = dict(trace='hutchinson', num_probes=_PROBES, key=jax.random.key(seed))

  def density(latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    found = generator.log_prob(params, latents, condition, **options)
    return np.asarray(found) / latents[0].size

  num = prepared.num_train  # Snapshots are of another population.
  told = prepared.condition
  train = density(prepared.latents[:num], None if told is None else told[:num])
  heldout = density(prepared.heldout_latents, prepared.heldout_condition)
  return {
    'auc': membership.auc(train, heldout, num_bootstrap=config.evaluate.num_bootstrap, seed=seed),
    'seed': seed,
    'train': _median(train),
    'heldout': _median(heldout),
  }


def check(prepared: prepare.Prepared, generator: Any) -> None:
  """Raises ValueError unless a generator can be compared, trained or not."""
  if not hasattr(generator, 'log_prob') or prepared.heldout_latents is None:
    held = 'has' if prepared.heldout_latents is not None else 'has no'
    raise ValueError(
      'evaluate.membership needs a generator with log_prob and a zoo with a '
      f'split test; got {type(generator).__name__}, and the zoo {held} such '
      'split.'
    )


def remark(found: dict[str, Any]) -> str:
  """One line about a comparison."""
  auc = found['auc']
  return (
    f'train/seed{found["seed"]}: median log-density per latent '
    f'{found["train"]} of training and {found["heldout"]} of held-out '
    f'networks; that of a training network is higher at {auc["value"]:.2f} '
    f'[{auc["low"]:.2f}, {auc["high"]:.2f}], chance 0.5'
  )


def _median(densities: np.ndarray) -> float | None:
  """Rounded; None where most networks have density 0, which is no JSON."""
  value = float(np.median(densities))
  return round(value, 3) if np.isfinite(value) else None
