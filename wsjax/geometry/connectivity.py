"""Paths between two networks: how high the loss rises on a line, and on curves that are fitted.

A path is a function of t in [0, 1]; networks may have any loss, a function of the parameters of
one network.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from wsjax import networks, typing
from wsjax.symmetry import canonicalize
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

NUM_POINTS = 21
Loss: TypeAlias = Callable[[typing.Params], Float[Array, '']]
Curve: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def line(a: jax.Array, bend: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
  """Point t of the straight line, which has no bend."""
  del bend
  return (1 - t) * a + t * b


def bezier(a: jax.Array, bend: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
  """Point t of a quadratic Bezier curve; source: Garipov et al. 2018, arXiv:1802.10026, eq. 5."""
  return (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b


def chain(a: jax.Array, bend: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
  """Point t of two straight lines that meet in the bend; source: as `bezier`, eq. 4."""
  return jnp.where(t < 0.5, (1 - 2 * t) * a + 2 * t * bend, (2 - 2 * t) * bend + (2 * t - 1) * b)


CURVES: dict[str, Curve] = {'line': line, 'bezier': bezier, 'chain': chain}


def fit_bend(
  loss: Loss,
  a: typing.Params,
  b: typing.Params,
  key: jax.Array,
  *,
  curve: Curve = bezier,
  steps: int = 200,
  learning_rate: float = 1e-2,
) -> typing.Params:
  """Parameters of the bend that makes the mean loss on a curve small.

  Adam, from the midpoint, with four points per step, one in each quarter of the curve.

  Source: Garipov et al. 2018, arXiv:1802.10026, section 3.
  """
  optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

  def mean_loss(bend: typing.Params, key: jax.Array) -> jax.Array:
    t = (jnp.arange(4) + jax.random.uniform(key, (4,))) / 4
    return jnp.mean(jax.vmap(lambda t: loss(_point(curve, a, bend, b, t)))(t))

  def step(carry, key):
    bend, state = carry
    update, state = optimizer.update(jax.grad(mean_loss)(bend, key), state)
    return (optax.apply_updates(bend, update), state), None

  middle = jax.tree.map(lambda a, b: (a + b) / 2, a, b)
  keys = jax.random.split(key, steps)
  return jax.lax.scan(step, (middle, optimizer.init(middle)), keys)[0][0]


def path_losses(
  loss: Loss,
  a: typing.Params,
  b: typing.Params,
  bend: typing.Params | None = None,
  *,
  curve: Curve = line,
  num_points: int = NUM_POINTS,
) -> Float[Array, ' s']:
  """Losses at even steps of a curve from `a` to `b`, ends included."""
  middle = a if bend is None else bend
  t = jnp.linspace(0, 1, num_points)
  return jax.lax.map(lambda t: loss(_point(curve, a, middle, b, t)), t)


def barrier(losses: Float[typing.Array, '*b s']) -> Float[np.ndarray, '*b']:
  """Height of the worst bump of the losses on a path, measured from the chord; never negative.

  Raises:
    ValueError: if s < 3.

  Source: Frankle et al. 2020, arXiv:1912.05671; with the chord as in Entezari et al. 2022,
    arXiv:2110.06296.
  """
  points = losses.shape[-1]
  if points < 3:
    raise ValueError(
      f'barrier needs both ends and a point between; got losses of shape {losses.shape}.'
    )
  chord = np.linspace(losses[..., 0], losses[..., -1], points, axis=-1)
  return np.max(losses - chord, axis=-1)


def paths(
  loss: Loss,
  a: typing.StackedParams,
  b: typing.StackedParams,
  *,
  curve: str = 'line',
  seed: int = 0,
  steps: int = 200,
  learning_rate: float = 1e-2,
  num_points: int = NUM_POINTS,
  chunk: int = 16,
) -> Float[np.ndarray, 'pairs s']:
  """Losses between networks `a` and `b` in pairs, on the line or on a curve fitted to each pair.

  Args:
    loss: of one network.
    a: path -> [pairs, ...].
    b: path -> [pairs, ...]; the second ends.
    curve: 'line', 'bezier' or 'chain'.
    seed: of the points that curves are fitted at.
    steps: of fitting.
    learning_rate: of fitting.
    num_points: s.
    chunk: pairs at a time.

  Raises:
    ValueError: if there is no such curve.
  """
  if curve not in CURVES:
    raise ValueError(f'curve is {curve!r}; allowed: {", ".join(CURVES)}.')
  count = networks.length(a)
  keys = jax.random.split(jax.random.key(seed), count)
  options = {'steps': steps, 'learning_rate': learning_rate, 'num_points': num_points}
  every = functools.partial(_paths, loss, curve, **options)
  return networks.in_chunks(lambda args: every(*args), (a, b, keys), min(count, chunk))


@functools.partial(
  jax.jit, static_argnames=('loss', 'curve', 'steps', 'learning_rate', 'num_points')
)
def _paths(
  loss: Loss,
  curve: str,
  a: typing.StackedParams,
  b: typing.StackedParams,
  keys: jax.Array,
  *,
  num_points: int,
  **options: Any,
) -> jax.Array:
  """`paths` of one chunk; compiled once for a loss and a kind of curve."""
  form = CURVES[curve]

  def one(a: typing.Params, b: typing.Params, key: jax.Array) -> jax.Array:
    bend = None if curve == 'line' else fit_bend(loss, a, b, key, curve=form, **options)
    return path_losses(loss, a, b, bend, curve=form, num_points=num_points)

  return jax.vmap(one)(a, b, keys)


def matched(
  a: typing.StackedParams,
  b: typing.StackedParams,
  spec: spec_lib.Spec,
  *,
  restarts: int = 3,
  seed: int = 0,
) -> tuple[typing.StackedParams, typing.StackedParams]:
  """Networks in pairs: `a` balanced, and `b` with its units matched to it. Functions are kept."""
  count = networks.length(a)
  # Only units of balanced networks can be compared.
  a, b = canonicalize.balance_all(a, spec), canonicalize.balance_all(b, spec)
  pairs = np.stack([np.arange(count)] * 2, axis=1)
  elements, _ = weight_matching.match_pairs(a, b, pairs, spec, restarts=restarts, seed=seed)
  return a, canonicalize.apply_all(elements, b, spec)


def barrier_matrix(
  loss: Loss,
  a: typing.StackedParams,
  b: typing.StackedParams | None = None,
  *,
  num_points: int = NUM_POINTS,
) -> Float[np.ndarray, 'n m']:
  """Barriers on the lines between all networks `a` and all of `b`, by default those of `a`."""
  n, m = networks.length(a), networks.length(a if b is None else b)
  rows, columns = np.triu_indices(n, 1) if b is None else map(np.ravel, np.indices((n, m)))
  found = np.zeros((n, m), np.float32)
  if len(rows):
    ends = networks.take(a, rows), networks.take(a if b is None else b, columns)
    found[rows, columns] = barrier(paths(loss, *ends, num_points=num_points))
  return found + found.T if b is None else found


def _point(
  curve: Curve, a: typing.Params, bend: typing.Params, b: typing.Params, t: jax.Array
) -> typing.Params:
  return jax.tree.map(lambda a, c, b: curve(a, c, b, t), a, bend, b)
