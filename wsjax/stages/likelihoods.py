"""Whether the density of a generator knows the networks it was trained on."""

import inspect
from typing import Any

import jax
import ml_collections
import numpy as np

from wsjax import typing
from wsjax.evaluate import membership
from wsjax.stages import prepare

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
    generator: has `log_prob`.
    params: of the generator.
    seed: of its training, and of what is estimated.

  Returns:
    'auc', an entry of the report; mean log-densities 'train' and 'heldout',
    nats per latent.

  Raises:
    ValueError: if the generator has no density or the zoo no held-out run.
  """
  if not hasattr(generator, 'log_prob') or prepared.heldout_latents is None:
    raise ValueError(
      'evaluate.membership needs a generator with log_prob and a split test; '
      f'got {type(generator).__name__} and splits '
      f'{dict(config.zoo.splits)}.'
    )
  options: dict[str, Any] = {}
  if 'trace' in inspect.signature(generator.log_prob).parameters:
    options = dict(
      trace='hutchinson', num_probes=_PROBES, key=jax.random.key(seed)
    )

  def density(latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    found = generator.log_prob(params, latents, condition, **options)
    return np.asarray(found) / latents[0].size

  train = density(prepared.latents, prepared.condition)
  heldout = density(prepared.heldout_latents, prepared.heldout_condition)
  return {
    'auc': membership.auc(
      train, heldout, num_bootstrap=config.evaluate.num_bootstrap, seed=seed
    ),
    'train': float(train.mean()),
    'heldout': float(heldout.mean()),
  }


def remark(found: dict[str, Any], seed: int) -> str:
  """One line about a comparison."""
  auc = found['auc']
  return (
    f'train/seed{seed}: log-density per latent {found["train"]:.3g} of '
    f'training and {found["heldout"]:.3g} of held-out networks; that of a '
    f'training network is higher at {auc["value"]:.2f} [{auc["low"]:.2f}, '
    f'{auc["high"]:.2f}], chance 0.5'
  )
