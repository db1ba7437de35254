"""One element of the symmetry group: a reordering, a rescaling, half turns.

Applied in that order. On a sine unit with weights (w, b, v) the element with scale s and k half
turns acts as (w, b, v) -> (s w, s b + k half_turn,
s (-1)^k v), so scales and turns form a semi-direct product: a later sign negates earlier turns.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import permutation, rescaling
from wsjax.symmetry import spec as spec_lib


@flax.struct.dataclass
class GroupElement:
  """What to do to each hidden unit; vmap over leading axes for many.

  Attributes:
    perms: group id -> [n] int32, old index now at each place. Every group.
    scales: group id -> [n] float, for groups that may be scaled or negated.
    turns: group id -> [n] int32, half turns, for groups of kind phase.
  """

  perms: dict[str, Any]
  scales: dict[str, Any]
  turns: dict[str, Any]


def identity(spec: spec_lib.Spec) -> GroupElement:
  """The element that changes nothing."""
  return GroupElement(
    permutation.identity(spec), rescaling.identity_scales(spec), rescaling.identity_turns(spec)
  )


def random(key: jax.Array, spec: spec_lib.Spec, max_log_scale: float = 1.0) -> GroupElement:
  """A random element.

  Args:
    key: one typed key.
    spec: the symmetry.
    max_log_scale: largest absolute logarithm of a positive scale.

  Returns:
    Uniform in order and sign, log-uniform in scale, -2 to 2 half turns.
  """
  order, scale, turn = jax.random.split(key, 3)
  return GroupElement(
    permutation.random(order, spec),
    rescaling.random(scale, spec, max_log_scale),
    rescaling.random_turns(turn, spec),
  )


def apply(g: GroupElement, params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """Permutes, then scales, then turns one network.

  Args:
    g: what to do.
    params: weights of one network.
    spec: its symmetry.

  Returns:
    Weights of the same function.

  Raises:
    ValueError: if `g` does not fit `spec`.
  """
  params = permutation.apply(g.perms, params, spec)
  params = rescaling.apply(g.scales, params, spec)
  return rescaling.apply_turns(g.turns, params, spec)


def compose(second: GroupElement, first: GroupElement, spec: spec_lib.Spec) -> GroupElement:
  """The element that does `first`, then `second`.

  Args:
    second: applied last.
    first: applied first.
    spec: the symmetry of both.

  Returns:
    Their product: perms p1[p2], scales s2 s1[p2], turns s2 k1[p2] + k2.

  Raises:
    ValueError: if the two do not have the same groups.
  """
  del spec  # The ids carry all that is needed.
  scales = {
    id: second.scales[id] * jnp.take(first.scales[id], second.perms[id]) for id in first.scales
  }
  turns = {}
  for id, k in second.turns.items():
    before = jnp.take(first.turns[id], second.perms[id])
    if id in second.scales:
      before = before * _integer_sign(second.scales[id])
    turns[id] = before + k
  return GroupElement(permutation.compose(second.perms, first.perms), scales, turns)


def invert(g: GroupElement, spec: spec_lib.Spec) -> GroupElement:
  """The element that undoes `g`.

  Args:
    g: what was done.
    spec: its symmetry.

  Returns:
    perms p^-1, scales 1 / s[p^-1], turns -s[p^-1] k[p^-1].
  """
  del spec
  perms = permutation.invert(g.perms)
  scales = {id: 1 / jnp.take(s, perms[id]) for id, s in g.scales.items()}
  turns = {}
  for id, k in g.turns.items():
    back = -jnp.take(jnp.asarray(k), perms[id])
    if id in scales:
      back = back * _integer_sign(scales[id])
    turns[id] = back
  return GroupElement(perms, scales, turns)


def _integer_sign(scale: typing.Array) -> jax.Array:
  """+1 or -1 as int32."""
  return jnp.where(jnp.asarray(scale) < 0, -1, 1).astype(jnp.int32)
