"""Robustness to an adversary: FGSM and PGD on the inputs, and their transfer.

Accuracy under attack is an upper bound of robust accuracy: a weak attack looks like a robust
network. So an item counts as right only if it is right under every attack at every point visited.
Two controls are reported beside it, noise of the same size and points made for other networks:
gradients of a network
that do worse than those hide something.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, statistics
from wsjax.evaluation.metrics import pgd as pgd_lib
from wsjax.models import model as model_lib

# Radii of the report, for pixels in [0, 1]; its table shows the middle one.
EPSILONS = {'linf': (0.02, 0.05, 0.1), 'l2': (0.1, 0.3, 0.6)}


@dataclasses.dataclass(frozen=True, eq=False)
class Attack:
  """What is right under attack, for N networks, E radii and n items.

  Attributes:
    clean: [N, n] bool, without attack.
    fgsm: [N, E, n] bool, after one step of the whole radius.
    pgd: [N, E, n] bool, at every point that any restart visited.
    noise: [N, E, n] bool, under every one of as many random points at the full radius as there are
      restarts.
    transfer: [N, E, n] bool, at every point that was made for other networks.
    loss: [N, E, steps + 1] mean margin loss along the way.
  """

  clean: np.ndarray
  fgsm: np.ndarray
  pgd: np.ndarray
  noise: np.ndarray
  transfer: np.ndarray
  loss: np.ndarray

  @property
  def own(self) -> np.ndarray:
    """[N, E, n] bool, right under attacks made on the network itself."""
    return self.clean[:, None] & self.fgsm & self.pgd

  @property
  def robust(self) -> np.ndarray:
    """[N, E, n] bool, right under the worst attack."""
    return self.own & self.transfer


def attack(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
  threat: pgd_lib.Threat,
  *,
  seed: int = 0,
  others: jax.Array | None = None,
  nets_per_call: int = 2,
) -> Attack:
  """Attacks every network on every item.

  All networks share the starts.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    inputs: [n, ...] inside the bounds.
    labels: [n] int.
    threat: E radii, R restarts.
    seed: of the starts and of the noise.
    others: [E, R, n, d] from `transfer.craft` with the same threat and items; None if nothing was
      made for other networks.
    nets_per_call: networks that one call of the compiled program takes; it holds E * restarts * n
      points of each, which is work enough.

  Returns:
    What stayed right. An output that is not finite is wrong.

  Raises:
    ValueError: if inputs are outside the bounds.

  Source: Goodfellow et al. 2015, arXiv:1412.6572 (FGSM); Madry et al. 2018, arXiv:1706.06083 (PGD).
  """
  inputs = threat.within(inputs)
  if others is None:
    others = jnp.zeros((len(threat.epsilons), 0, len(inputs), inputs[0].size))
  count = len(next(iter(params.values())))
  parts = [
    _call(
      architecture,
      chunk,
      inputs,
      np.asarray(labels, np.int32),
      jax.random.key(seed),
      others,
      threat,
    )
    for chunk in methods.chunks(params, nets_per_call)
  ]
  return Attack(
    *(np.concatenate([np.asarray(part[i]) for part in parts])[:count] for i in range(6))
  )


def metrics(
  attacks: dict[str, Attack], groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Robust accuracy of an arm at the middle radius of each norm.

  Args:
    attacks: norm -> attack of its N networks on n items.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'robust_<norm>' under all attacks, 'own_<norm>' under those on
    the network itself, 'transfer_<norm>' under those on others, and 'noise_<norm>' for random
    points of the same size.
  """
  result = {}
  for norm, found in attacks.items():
    middle = found.pgd.shape[1] // 2
    for name, table in (
      ('robust', found.robust),
      ('own', found.own),
      ('noise', found.noise),
      ('transfer', found.clean[:, None] & found.transfer),
    ):
      result[f'{name}_{norm}'] = statistics.two_way(table[:, middle], groups, resampler)
  return result


def curve(found: Attack) -> dict[str, list[float]]:
  """Accuracy by radius, for a figure.

  Args:
    found: attack on an arm.

  Returns:
    'robust' and 'noise': mean accuracy, without attack and at each radius.
  """
  clean = float(found.clean.mean())
  return {
    'robust': [clean, *found.robust.mean(axis=(0, 2)).tolist()],
    'noise': [clean, *found.noise.mean(axis=(0, 2)).tolist()],
  }


@functools.partial(jax.jit, static_argnames=('architecture', 'threat'))
def _call(
  architecture: model_lib.Model,
  params: typing.StackedParams,
  inputs: jax.Array,
  labels: jax.Array,
  key: jax.Array,
  others: jax.Array,
  threat: pgd_lib.Threat,
) -> tuple[jax.Array, ...]:
  """Fields of `Attack` for the networks of one call."""
  x = inputs.reshape(len(inputs), -1)
  # Points are [E, R, n, d]; a step treats all of them as one batch.
  starts, noise = threat.points(key, x)
  restarts = threat.restarts

  def one(net: typing.Params) -> tuple[jax.Array, ...]:
    losses = pgd_lib.losses_of(architecture, net, inputs.shape[1:], labels)
    points, kept, loss = pgd_lib.climb(losses, x, starts, threat)
    gradient = jax.grad(lambda points: jnp.sum(losses(points)[0]))(x)
    way = pgd_lib.steepest(gradient, threat.norm)
    fgsm = jnp.clip(x[None, None] + threat.radii * way[None, None], *threat.bounds)
    last = jnp.concatenate([points, fgsm, noise, others], axis=1)
    last_loss, right = losses(last)
    last_loss = last_loss[:, :restarts].mean((1, 2))
    ends = (restarts, restarts + 1, 2 * restarts + 1)
    pgd, fgsm, noisy, elsewhere = jnp.split(right, ends, axis=1)
    return (
      losses(x)[1],
      fgsm[:, 0],
      jnp.all(kept & pgd, axis=1),
      jnp.all(noisy, axis=1),
      jnp.all(elsewhere, axis=1),
      jnp.concatenate([loss, last_loss[None]]).T,
    )

  return jax.vmap(one)(params)
