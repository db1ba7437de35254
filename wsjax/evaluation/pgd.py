"""Projected gradient ascent of a loss over inputs in a ball and a box."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.models import model as model_lib

NORMS = ('linf', 'l2')
# Step over radius / number of steps: iterates can leave their start and still come to rest. Madry
# et al. 2018, arXiv:1706.06083.
_STEP = 2.5

# Points [*b, n, d] -> loss [*b, n], and whether the item is still right there.
Losses = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Threat:
  """Threat model: changes that an adversary may make to an input, and its effort.

  Attributes:
    norm: 'linf' or 'l2'.
    epsilons: E radii of the ball around the input.
    steps: of every ascent.
    restarts: R ascents; the first starts at the input, the others inside the ball.
    bounds: least and largest value of an input.

  Raises:
    ValueError: for an unknown norm, a radius below 0, or no step or restart.
  """

  norm: str
  epsilons: tuple[float, ...]
  steps: int = 20
  restarts: int = 5
  bounds: tuple[float, float] = (0.0, 1.0)

  def __post_init__(self):
    if self.norm not in NORMS:
      raise ValueError(f'Unknown norm {self.norm!r}; allowed: {", ".join(NORMS)}.')
    if min(self.epsilons) < 0 or min(self.steps, self.restarts) < 1:
      raise ValueError(
        'An attack needs radii >= 0, and at least one step and restart; got '
        f'epsilons={self.epsilons}, steps={self.steps}, '
        f'restarts={self.restarts}.'
      )

  @property
  def radii(self) -> jax.Array:
    """[E, 1, 1, 1] for points [E, R, n, d]."""
    return jnp.asarray(self.epsilons, jnp.float32)[:, None, None, None]

  def within(self, inputs: typing.Array) -> np.ndarray:
    """Inputs in float32.

    Raises:
      ValueError: if they are outside `bounds`.
    """
    inputs = np.asarray(inputs, np.float32)
    low, high = inputs.min(), inputs.max()
    if not (low >= self.bounds[0] and high <= self.bounds[1]):
      raise ValueError(
        f'inputs are in [{low:.3g}, {high:.3g}], not within the bounds {self.bounds}.'
      )
    return inputs

  def points(self, key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Starts, and random points at the full radius, [E, R, n, d], of [n, d]."""
    shape = (self.restarts, *x.shape)
    starts, noise = (
      jnp.clip(x[None, None] + self.radii * way[None], *self.bounds)
      for way in _directions(key, self.norm, shape)
    )
    return starts, noise


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """[*b, n] log-sum-exp of the other logits minus that of the label.

  The cross-entropy is softplus of this; its gradient has the same direction, but vanishes once the
  network is sure. Logits are [*b, n, c], labels [n].
  """
  hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  hot = jnp.broadcast_to(hot, logits.shape)
  others = jax.nn.logsumexp(jnp.where(hot, -jnp.inf, logits), axis=-1)
  return others - jnp.sum(jnp.where(hot, logits, 0), axis=-1)


def losses_of(
  architecture: model_lib.Model, net: typing.Params, shape: tuple[int, ...], labels: jax.Array
) -> Losses:
  """Margin loss of a network and whether it is right, at flat points [*b, n, d] of a `shape`.

  An output that is not finite is not right.
  """

  def losses(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = architecture.apply(net, points.reshape(-1, *shape))
    logits = logits.reshape(*points.shape[:-1], -1)
    best = jnp.argmax(logits, axis=-1)
    right = best == jnp.broadcast_to(labels, best.shape)
    finite = jnp.all(jnp.isfinite(logits), axis=-1)
    return margin(logits, labels), right & finite

  return losses


def climb(
  losses: Losses, x: jax.Array, starts: jax.Array, threat: Threat
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Ascends from every start.

  Args:
    losses: of points.
    x: [n, d] centres of the balls, inside the box.
    starts: [E, R, n, d] in them.
    threat: the ball, the box and the number of steps.

  Returns:
    Last points [E, R, n, d]; [E, R, n] bool, whether an item was right at all points before; mean
    loss at those, [steps, E].

  Source: Madry et al. 2018, arXiv:1706.06083.
  """

  def total(points: jax.Array) -> tuple[jax.Array, tuple]:
    loss, right = losses(points)
    return jnp.sum(loss), (loss, right)

  slope = jax.grad(total, has_aux=True)
  eps, norm, steps = threat.radii, threat.norm, threat.steps

  def step(
    carry: tuple[jax.Array, jax.Array], _: None
  ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    points, kept = carry
    gradient, (loss, right) = slope(points)
    points = points + _STEP / steps * eps * steepest(gradient, norm)
    points = x[None, None] + _project(points - x[None, None], eps, norm)
    # Clipping goes towards x, which is inside: it does not leave the ball.
    return (jnp.clip(points, *threat.bounds), kept & right), loss.mean((1, 2))

  everything = jnp.ones(starts.shape[:-1], bool)
  (points, kept), loss = jax.lax.scan(step, (starts, everything), length=steps)
  return points, kept, loss


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
    inner = radius * steepest(jax.random.normal(inside, shape), norm)
    outer = steepest(jax.random.normal(edge, shape), norm)
  return inner.at[0].set(0), outer


def steepest(gradient: jax.Array, norm: str) -> jax.Array:
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
  return change * jnp.where(length > eps, eps / jnp.where(length > 0, length, 1), 1)
