"""Attacks made on some networks, to be tried on others."""

import functools

import jax
import numpy as np

from wsjax import typing
from wsjax.evaluation.metrics import pgd
from wsjax.models import model as model_lib

# Networks of the zoo that they are made on, together.
SURROGATES = 4


def craft(
  architecture: model_lib.Model,
  surrogates: typing.StackedParams,
  inputs: typing.Array,
  labels: typing.Array,
  threat: pgd.Threat,
  *,
  seed: int = 0,
) -> jax.Array:
  """Points by PGD on the mean loss of some networks, to try on others.

  Args:
    architecture: of the networks; its outputs are logits.
    surrogates: path -> [S, ...] networks with finite weights.
    inputs: [n, ...] inside the bounds.
    labels: [n] int.
    threat: E radii, R restarts.
    seed: of the starts.

  Returns:
    [E, R, n, d] last points, inputs flat.

  Raises:
    ValueError: if inputs are outside the bounds.

  Source: Liu et al. 2017, arXiv:1611.02770 (attack on several networks).
  """
  return _craft(
    architecture,
    dict(surrogates),
    threat.within(inputs),
    np.asarray(labels, np.int32),
    jax.random.key(seed),
    threat,
  )


@functools.partial(jax.jit, static_argnames=('architecture', 'threat'))
def _craft(
  architecture: model_lib.Model,
  surrogates: typing.StackedParams,
  inputs: jax.Array,
  labels: jax.Array,
  key: jax.Array,
  threat: pgd.Threat,
) -> jax.Array:
  """[E, R, n, d] points that spoil the networks together."""
  x = inputs.reshape(len(inputs), -1)

  def losses(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    def one(net: typing.Params) -> tuple[jax.Array, jax.Array]:
      shape = inputs.shape[1:]
      return pgd.losses_of(architecture, net, shape, labels)(points)

    loss, right = jax.vmap(one)(surrogates)
    return loss.mean(axis=0), right.all(axis=0)

  return pgd.climb(losses, x, threat.points(key, x)[0], threat)[0]
