"""Robustness to an adversary: FGSM and PGD on the inputs, white box.

Accuracy under attack is an upper bound of robust accuracy: a weak attack looks
like a robust network. So an item counts as right only if it is right under
every attack at every point visited, and noise of the same size is reported
beside it.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluate import arms, statistics
from wsjax.zoo import architecture as architecture_lib

NORMS = ('linf', 'l2')
# Radii of the report, for pixels in [0, 1]; its table shows the middle one.
EPSILONS = {'linf': (0.02, 0.05, 0.1), 'l2': (0.1, 0.3, 0.6)}
# Step over radius / number of steps: iterates can leave their start and still
# come to rest. Madry et al. 2018, arXiv:1706.06083.
_STEP = 2.5


@dataclasses.dataclass(frozen=True, eq=False)
class Attack:
  """What is right under attack, for N networks, E radii and n items.

  Attributes:
    clean: [N, n] bool, without attack.
    fgsm: [N, E, n] bool, after one step of the whole radius.
    pgd: [N, E, n] bool, at every point that any restart visited.
    noise: [N, E, n] bool, under every one of as many random points at the full
      radius as there are restarts.
    loss: [N, E, steps + 1] mean margin loss along the way.
  """

  clean: np.ndarray
  fgsm: np.ndarray
  pgd: np.ndarray
  noise: np.ndarray
  loss: np.ndarray

  @property
  def robust(self) -> np.ndarray:
    """[N, E, n] bool, right under the worst attack."""
    return self.clean[:, None] & self.fgsm & self.pgd


def attack(
  architecture: architecture_lib.Architecture,
  params: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
  *,
  norm: str,
  epsilons: tuple[float, ...],
  steps: int = 20,
  restarts: int = 5,
  bounds: tuple[float, float] = (0.0, 1.0),
  seed: int = 0,
  nets_per_call: int = 2,
) -> Attack:
  """Attacks every network on every item.

  The first restart starts at the input, the others inside the ball, at points
  that all networks share.

  Args:
    architecture: of all networks; its outputs are logits.
    params: path -> [N, ...].
    inputs: [n, ...] inside `bounds`.
    labels: [n] int.
    norm: 'linf' or 'l2'.
    epsilons: E radii of the ball.
    steps: of PGD.
    restarts: of PGD.
    bounds: least and largest value of an input.
    seed: of the starts and of the noise.
    nets_per_call: networks that one call of the compiled program takes; it
      holds E * restarts * n points of each, which is work enough.

  Returns:
    What stayed right. An output that is not finite is wrong.

  Raises:
    ValueError: for an unknown norm, a radius below 0, no step or restart, or
      inputs outside `bounds`.

  Source: Goodfellow et al. 2015, arXiv:1412.6572 (FGSM); Madry et al. 2018,
    arXiv:1706.06083 (PGD).
  """
  if norm not in NORMS:
    raise ValueError(f'Unknown norm {norm!r}; allowed: {", ".join(NORMS)}.')
  if min(epsilons) < 0 or min(steps, restarts) < 1:
    raise ValueError(
      'An attack needs radii >= 0, and at least one step and restart; got '
      f'epsilons={epsilons}, steps={steps}, restarts={restarts}.'
    )
  inputs = np.asarray(inputs, np.float32)
  if not (inputs.min() >= bounds[0] and inputs.max() <= bounds[1]):
    raise ValueError(
      f'inputs are in [{inputs.min():.3g}, {inputs.max():.3g}], not within the '
      f'bounds {bounds}.'
    )
  count = len(next(iter(params.values())))
  parts = [
    _call(
      architecture,
      chunk,
      inputs,
      np.asarray(labels, np.int32),
      np.asarray(epsilons, np.float32),
      jax.random.key(seed),
      bounds,
      norm=norm,
      steps=steps,
      restarts=restarts,
    )
    for chunk in arms.chunks(params, nets_per_call)
  ]
  return Attack(
    *(
      np.concatenate([np.asarray(part[i]) for part in parts])[:count]
      for i in range(5)
    )
  )


def metrics(
  attacks: dict[str, Attack],
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Robust accuracy of an arm at the middle radius of each norm.

  Args:
    attacks: norm -> attack of its N networks on n items.
    groups: [N] which seed made each network.
    resampler: for the intervals, with num_items n.

  Returns:
    metric -> entry of the report: 'robust_<norm>', and 'noise_<norm>' for
    random points of the same size.
  """
  result = {}
  for norm, found in attacks.items():
    middle = found.pgd.shape[1] // 2
    for name, table in (('robust', found.robust), ('noise', found.noise)):
      result[f'{name}_{norm}'] = statistics.two_way(
        table[:, middle], groups, resampler
      )
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


@functools.partial(
  jax.jit, static_argnames=('architecture', 'norm', 'steps', 'restarts')
)
def _call(
  architecture: architecture_lib.Architecture,
  params: typing.StackedParams,
  inputs: jax.Array,
  labels: jax.Array,
  epsilons: jax.Array,
  key: jax.Array,
  bounds: tuple[float, float],
  *,
  norm: str,
  steps: int,
  restarts: int,
) -> tuple[jax.Array, ...]:
  """Fields of `Attack` for the networks of one call."""
  radii, (n, *shape) = len(epsilons), inputs.shape
  x = inputs.reshape(n, -1)
  # Points are [E, R, n, d]; a step treats all of them as one batch.
  eps = epsilons[:, None, None, None]
  inner, outer = _directions(key, norm, (restarts, *x.shape))
  starts = jnp.clip(x[None, None] + eps * inner[None], *bounds)
  noise = jnp.clip(x[None, None] + eps * outer[None], *bounds)

  def one(net: typing.Params) -> tuple[jax.Array, ...]:
    def losses(points: jax.Array) -> tuple[jax.Array, jax.Array]:
      """Margin loss, and whether it is right, at points [*b, n, d]."""
      lead = points.shape[:-2]
      logits = architecture.apply(net, points.reshape(-1, *shape))
      logits = logits.reshape(*lead, n, -1)
      hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
      hot = jnp.broadcast_to(hot, logits.shape)
      # The cross-entropy is softplus of this. Its gradient points the same
      # way, but vanishes once the network is sure, and then hides it.
      others = jax.nn.logsumexp(jnp.where(hot, -jnp.inf, logits), axis=-1)
      loss = others - jnp.sum(jnp.where(hot, logits, 0), axis=-1)
      right = jnp.argmax(logits, axis=-1) == jnp.argmax(hot, axis=-1)
      return loss, right & jnp.all(jnp.isfinite(logits), axis=-1)

    def total(points: jax.Array) -> tuple[jax.Array, tuple]:
      loss, right = losses(points)
      return jnp.sum(loss), (loss, right)

    slope = jax.grad(total, has_aux=True)

    def step(
      carry: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
      points, kept = carry
      gradient, (loss, right) = slope(points)
      points = points + _STEP / steps * eps * _steepest(gradient, norm)
      points = x[None, None] + _project(points - x[None, None], eps, norm)
      # Clipping goes towards x, which is inside: it does not leave the ball.
      return (jnp.clip(points, *bounds), kept & right), loss.mean((1, 2))

    everything = jnp.ones((radii, restarts, n), bool)
    (points, kept), loss = jax.lax.scan(
      step, (starts, everything), length=steps
    )
    gradient, (_, clean) = slope(x)
    fgsm = x[None] + eps[:, 0] * _steepest(gradient, norm)[None]
    fgsm = jnp.clip(fgsm, *bounds)[:, None]
    last_loss, right = losses(jnp.concatenate([points, fgsm, noise], axis=1))
    last_loss = last_loss[:, :restarts].mean((1, 2))
    return (
      clean,
      right[:, restarts],
      jnp.all(kept & right[:, :restarts], axis=1),
      jnp.all(right[:, restarts + 1 :], axis=1),
      jnp.concatenate([loss, last_loss[None]]).T,
    )

  return jax.vmap(one)(params)


def _directions(
  key: jax.Array, norm: str, shape: tuple[int, int, int]
) -> tuple[jax.Array, jax.Array]:
  """Points [R, n, d] uniform in the unit ball, the first 0, and on its edge."""
  inside, length, edge = jax.random.split(key, 3)
  if norm == 'linf':
    inner = jax.random.uniform(inside, shape, minval=-1, maxval=1)
    outer = jax.random.rademacher(edge, shape, jnp.float32)
  else:
    radius = jax.random.uniform(length, (*shape[:2], 1)) ** (1 / shape[2])
    inner = radius * _steepest(jax.random.normal(inside, shape), norm)
    outer = _steepest(jax.random.normal(edge, shape), norm)
  return inner.at[0].set(0), outer


def _steepest(gradient: jax.Array, norm: str) -> jax.Array:
  """Direction of unit norm along which a loss rises most; 0 where flat."""
  if norm == 'linf':
    return jnp.sign(gradient)
  length = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
  return jnp.where(length > 0, gradient / jnp.where(length > 0, length, 1), 0)


def _project(change: jax.Array, eps: jax.Array, norm: str) -> jax.Array:
  """Nearest change whose norm is at most eps."""
  if norm == 'linf':
    return jnp.clip(change, -eps, eps)
  length = jnp.linalg.norm(change, axis=-1, keepdims=True)
  return change * jnp.where(
    length > eps, eps / jnp.where(length > 0, length, 1), 1
  )
