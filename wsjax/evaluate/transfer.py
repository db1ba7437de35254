"""Attacks made on some networks, to be tried on others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.evaluate import adversarial, ascent
from wsjax.zoo import architecture as architecture_lib

# Networks of the zoo that they are made on, together.
SURROGATES = 4


def craft(
  architecture: architecture_lib.Architecture,
  surrogates: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
  *,
  norm: str,
  epsilons: tuple[float, ...],
  steps: int = 20,
  restarts: int = 5,
  bounds: tuple[float, float] = (0.0, 1.0),
  seed: int = 0,
) -> jax.Array:
  """Points by PGD on the mean loss of some networks, to try on others.

  Args:
    architecture: of the networks; its outputs are logits.
    surrogates: path -> [S, ...] networks with finite weights.
    inputs: [n, ...] inside `bounds`.
    labels: [n] int.
    norm: 'linf' or 'l2'.
    epsilons: E radii of the ball.
    steps: of PGD.
    restarts: R of PGD.
    bounds: least and largest value of an input.
    seed: of the starts.

  Returns:
    [E, R, n, d] last points, inputs flat.

  Raises:
    ValueError: as `adversarial.check`.

  Source: Liu et al. 2017, arXiv:1611.02770 (attack on several networks).
  """
  inputs, labels = adversarial.check(
    inputs, labels, norm, epsilons, min(steps, restarts), bounds
  )
  return _craft(
    architecture,
    dict(surrogates),
    inputs,
    labels,
    np.asarray(epsilons, np.float32),
    jax.random.key(seed),
    bounds,
    norm=norm,
    steps=steps,
    restarts=restarts,
  )


@functools.partial(
  jax.jit, static_argnames=('architecture', 'norm', 'steps', 'restarts')
)
def _craft(
  architecture: architecture_lib.Architecture,
  surrogates: typing.StackedParams,
  inputs: jax.Array,
  labels: jax.Array,
  epsilons: jax.Array,
  key: jax.Array,
  bounds: tuple[float, float],
  *,
  norm: str,
  steps: int,
  restarts: int,
) -> jax.Array:
  """[E, R, n, d] points that spoil the networks together."""
  x = inputs.reshape(len(inputs), -1)
  eps = epsilons[:, None, None, None]
  inner, _ = ascent.directions(key, norm, (restarts, *x.shape))

  def losses(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    loss, right = jax.vmap(
      lambda net: ascent.losses_of(architecture, net, inputs.shape[1:], labels)(
        points
      )
    )(surrogates)
    return loss.mean(axis=0), right.all(axis=0)

  starts = jnp.clip(x[None, None] + eps * inner[None], *bounds)
  return ascent.climb(
    losses, x, starts, eps, norm=norm, steps=steps, bounds=bounds
  )[0]
