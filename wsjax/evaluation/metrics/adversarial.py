"""Adversarial robustness: FGSM and PGD on the inputs, and their transfer.

A weak attack looks like a robust network: an item counts as right only if it is right under every
attack at every point visited, which is an upper bound. Two controls are reported beside it, noise
of equal size and points made for other networks: gradients of a network that do worse hide
something.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks, typing
from wsjax.evaluation import pgd as pgd_lib
from wsjax.evaluation.methods import Sample, once
from wsjax.evaluation.metric import Metric, Stat, metric
from wsjax.evaluation.metrics import corruptions
from wsjax.evaluation.reference import Reference
from wsjax.models import model as model_lib

LIMIT = (32, 128)
# Radii for pixels in [0, 1]; the table shows the middle one.
EPSILONS = {'linf': (0.02, 0.05, 0.1), 'l2': (0.1, 0.3, 0.6)}
SURROGATES = 4  # Training networks that transferred attacks are made on, together.
_NETWORKS_PER_CALL = 2  # A call holds E * restarts * n points of each.
GROUP = 'Adversarial robustness'


@dataclasses.dataclass(frozen=True, eq=False)
class Attack:
  """Items right under attack, of N networks, at E radii.

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
) -> Attack:
  """Attacks every network on every item; all share the starts.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    inputs: [n, ...] inside the bounds.
    labels: [n] int.
    threat: E radii, R restarts.
    seed: of the starts and of the noise.
    others: [E, R, n, d] from `craft` with the same threat and items; None for no transfer.

  Raises:
    ValueError: if inputs are outside the bounds.

  Source: Goodfellow et al. 2015, arXiv:1412.6572 (FGSM); Madry et al. 2018, arXiv:1706.06083 (PGD).
  """
  inputs = threat.within(inputs)
  if others is None:
    others = jnp.zeros((len(threat.epsilons), 0, len(inputs), inputs[0].size))
  labels, key = np.asarray(labels, np.int32), jax.random.key(seed)
  return Attack(
    *networks.in_chunks(
      lambda chunk: _call(architecture, chunk, inputs, labels, key, others, threat),
      dict(params),
      _NETWORKS_PER_CALL,
    )
  )


def craft(
  architecture: model_lib.Model,
  surrogates: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
  threat: pgd_lib.Threat,
  *,
  seed: int = 0,
) -> jax.Array:
  """[E, R, n, d] last points, flat, of PGD on the mean loss of networks, to be tried on others.

  The surrogates, path -> [S, ...], have finite weights; the rest is as for `attack`.

  Source: Liu et al. 2017, arXiv:1611.02770 (attack on several networks).
  """
  labels, key = np.asarray(labels, np.int32), jax.random.key(seed)
  return _craft(architecture, dict(surrogates), threat.within(inputs), labels, key, threat)


@functools.partial(jax.jit, static_argnames=('architecture', 'threat'))
def _craft(
  architecture: model_lib.Model,
  surrogates: typing.StackedParams,
  inputs: jax.Array,
  labels: jax.Array,
  key: jax.Array,
  threat: pgd_lib.Threat,
) -> jax.Array:
  """[E, R, n, d] points that spoil the networks together."""
  x = inputs.reshape(len(inputs), -1)

  def losses(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    def one(net: typing.Params) -> tuple[jax.Array, jax.Array]:
      shape = inputs.shape[1:]
      return pgd_lib.losses_of(architecture, net, shape, labels)(points)

    loss, right = jax.vmap(one)(surrogates)
    return loss.mean(axis=0), right.all(axis=0)

  return pgd_lib.climb(losses, x, threat.points(key, x)[0], threat)[0]


def _surrogates(reference: Reference) -> np.ndarray:
  """Places of the training networks that transferred attacks are made on."""
  return networks.evenly(reference.num_train, SURROGATES)


@once
def transferred(zoo: Sample, norm: str) -> jax.Array:
  """[E, R, n, d] points made on the surrogates."""
  reference = zoo.reference
  surrogates = networks.take(reference.train, _surrogates(reference))
  threat = pgd_lib.Threat(norm, EPSILONS[norm])
  return craft(reference.architecture, surrogates, zoo.x, zoo.y, threat, seed=reference.seed)


@once
def attacked(method: Sample) -> Sample:
  """Networks of a method that are attacked: of the zoo those that are no surrogates."""
  corruptions.images(method.zoo)
  if not method.is_zoo:
    return method
  others = ~np.isin(method.networks, _surrogates(method.reference))
  return method.keep(others, 'the points were made on all of these networks')


@once
def attacks(method: Sample, norm: str) -> Attack:
  """Attacks of one norm on the networks of `attacked`."""
  reference = method.reference
  return attack(
    reference.architecture, attacked(method).params, method.x, method.y,
    pgd_lib.Threat(norm, EPSILONS[norm]), seed=reference.seed, others=transferred(method.zoo, norm),
  )  # fmt: skip


# Number -> label, heading, its table of an attack, explanation.
_NUMBERS: dict[str, tuple[str, str, Callable[[Attack], np.ndarray], str]] = {
  'robust': (
    'accuracy under attack', 'any attack', lambda attack: attack.robust,
    'Items right under the worst of FGSM, PGD of 20 steps from 5 starts, and attacks on networks '
    'of the zoo, {} radius {} of pixels in [0, 1]. An upper bound.',
  ),
  'own': (
    'accuracy under attack on itself', 'on itself', lambda attack: attack.own,
    'Items right under attacks on the network itself, {} radius {}.',
  ),
  'transfer': (
    'accuracy under attack on others', 'on others',
    lambda attack: attack.clean[:, None] & attack.transfer,
    'Items right at the points that PGD made on 4 training networks together, which are left out '
    'of the zoo here, {} radius {}. Below the attack on itself: the gradients of the network hide '
    'something. Copies of those four fall with them.',
  ),
  'noise': (
    'accuracy under noise', 'noise', lambda attack: attack.noise,
    'Items right under each of 5 random changes of {} size {}: an attack that is no stronger has '
    'failed.',
  ),
}  # fmt: skip


def _metric(key: str, norm: str) -> Metric:
  """Accuracy at the middle radius of a norm."""
  label, heading, table, doc = _NUMBERS[key]
  symbol, middle = {'linf': 'L∞', 'l2': 'L2'}[norm], len(EPSILONS[norm]) // 2
  doc = doc.format(symbol, EPSILONS[norm][middle])

  @metric(
    f'{label}, {symbol}', '.1%', name=f'{key}_{norm}', better='higher',
    heading=f'{heading} {symbol}', doc=doc,
  )  # fmt: skip
  def measure(method: Sample, reference: Reference) -> Stat:
    return attacked(method).mean(table(attacks(method, norm))[:, middle])

  return measure


METRICS = tuple(_metric(key, norm) for norm in EPSILONS for key in _NUMBERS)


def curve(method: Sample) -> dict[str, dict[str, list[float]]]:
  """Norm -> accuracy under attack and under noise, without and at each radius, for a figure."""
  result = {}
  for norm, radii in EPSILONS.items():
    found = attacks(method, norm)
    clean = float(found.clean.mean())
    result[norm] = {
      'epsilon': [0.0, *radii],
      'robust': [clean, *found.robust.mean(axis=(0, 2)).tolist()],
      'noise': [clean, *found.noise.mean(axis=(0, 2)).tolist()],
    }
  return result


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
    kept, noisy, elsewhere = (jnp.all(points, axis=1) for points in (kept & pgd, noisy, elsewhere))
    loss = jnp.concatenate([loss, last_loss[None]]).T
    return losses(x)[1], fgsm[:, 0], kept, noisy, elsewhere, loss

  return jax.vmap(one)(params)
