"""Elements of the symmetry group: a permutation, scales and phase shifts of hidden units.

They act in that order. On a sine unit with weights (w, b, v) the element with scale s and k half
periods acts as (w, b, v) -> (s w, s b + k half_turn, s (-1)^k v).

Source: Ainsworth et al. 2023, arXiv:2209.04836, section 2 (permutations); Godfrey et al. 2022,
arXiv:2205.14258, table 1 (scales, signs and shifts).
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

_SCALED = ('positive_scale', 'sign')


@flax.struct.dataclass
class GroupElement:
  """An element of the group; vmap over leading axes for many.

  Attributes:
    perms: group id -> [n] int32, old index now at each place. Every group.
    scales: group id -> [n] float, for groups that may be scaled or negated.
    turns: group id -> [n] int32, half periods, for groups of kind phase.
  """

  perms: dict[str, Any]
  scales: dict[str, Any]
  turns: dict[str, Any]


def identity(spec: spec_lib.Spec) -> GroupElement:
  """The element that changes nothing."""
  # Made by NumPy, for which no size has to be compiled.
  element = GroupElement(
    {g.id: np.arange(g.size, dtype=np.int32) for g in spec.groups},
    {g.id: np.ones(g.size) for g in spec.groups if set(_SCALED) & set(g.kinds)},
    {g.id: np.zeros(g.size, np.int32) for g in spec.groups if 'phase' in g.kinds},
  )
  return jax.tree.map(jnp.asarray, element)


@jax.jit(static_argnums=(1, 2, 3), static_argnames=('spec', 'max_log_scale', 'max_turns'))
def random(
  key: jax.Array, spec: spec_lib.Spec, max_log_scale: float = 1.0, max_turns: int = 2
) -> GroupElement:
  """A random element: uniform in order and sign, log-uniform in scale up to exp(+-max_log_scale),
  and uniform in the number of half periods up to +-max_turns.
  """
  order, scale, turn = jax.random.split(key, 3)
  perms, scales, turns = {}, {}, {}
  for index, group in enumerate(spec.groups):
    keys = [jax.random.fold_in(k, index) for k in (order, scale, turn)]
    perms[group.id] = jax.random.permutation(keys[0], jnp.arange(group.size, dtype=jnp.int32))
    size_key, sign_key = jax.random.split(keys[1])
    factor = jnp.ones(group.size)
    if 'positive_scale' in group.kinds:
      bounds = {'minval': -max_log_scale, 'maxval': max_log_scale}
      factor = jnp.exp(jax.random.uniform(size_key, (group.size,), **bounds))
    if 'sign' in group.kinds:
      factor = factor * jax.random.rademacher(sign_key, (group.size,), jnp.float32)
    if set(_SCALED) & set(group.kinds):
      scales[group.id] = factor
    if 'phase' in group.kinds:
      turns[group.id] = jax.random.randint(keys[2], (group.size,), -max_turns, max_turns + 1)
  return GroupElement(perms, scales, turns)


def act(g: GroupElement, params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """Permutes, scales and shifts the units of one network; its function stays.

  Raises:
    ValueError: if `g` does not fit `spec`.
  """
  return shift(g.turns, scale(g.scales, permute(g.perms, params, spec), spec), spec)


# Of one network outside of a program, where every operation would be compiled for itself.
act_one = jax.jit(act, static_argnums=2)


@jax.jit(static_argnums=2)
def act_all(
  g: GroupElement, stacked: typing.StackedParams, spec: spec_lib.Spec
) -> typing.StackedParams:
  """`act` of n elements on n networks, path -> [n, ...]."""
  return jax.vmap(lambda g, params: act(g, params, spec))(g, stacked)


def permute(
  perms: Mapping[str, Int[Array, ' n']], params: typing.Params, spec: spec_lib.Spec
) -> typing.Params:
  """Moves units to new places: perms[id][i] is the old index of the unit now at place i.

  Groups that are absent stay as they are.

  Raises:
    ValueError: if `perms` names an unknown group or has another length.
  """

  def move(value: jax.Array, leaf: spec_lib.Leaf, dim: int, perm: jax.Array) -> jax.Array:
    axis = leaf.axes[dim]
    blocks = (axis.outer, perm.shape[0], axis.inner)
    split = value.reshape(leaf.shape[:dim] + blocks + leaf.shape[dim + 1 :])
    return jnp.take(split, perm, axis=dim + 1).reshape(leaf.shape)

  _check(perms, spec, ('permutation',))
  return along_groups(move, perms, params, spec)


def scale(
  scales: Mapping[str, Float[Array, ' n']], params: typing.Params, spec: spec_lib.Spec
) -> typing.Params:
  """Multiplies the incoming weights of a unit by its scale, divides the outgoing ones.

  Scales are positive for kind positive_scale, +1 or -1 for kind sign.

  Raises:
    ValueError: if a group is unknown, has another length, or may not be scaled.
  """

  def multiply(value: jax.Array, leaf: spec_lib.Leaf, dim: int, factor: jax.Array) -> jax.Array:
    factor = factor.astype(value.dtype)
    return value * along(factor if leaf.axes[dim].power > 0 else 1 / factor, leaf, dim)

  _check(scales, spec, _SCALED)
  return along_groups(multiply, scales, params, spec)


def shift(
  turns: Mapping[str, Int[Array, ' n']], params: typing.Params, spec: spec_lib.Spec
) -> typing.Params:
  """Adds k half periods to the bias of a sine unit and multiplies its outgoing weights by (-1)^k.

  Raises:
    ValueError: if a group is unknown, has another length or is not of kind phase.
  """

  def turn(value: jax.Array, leaf: spec_lib.Leaf, dim: int, k: jax.Array) -> jax.Array:
    axis = leaf.axes[dim]
    if axis.shift:
      return value + along(k.astype(value.dtype) * spec.group(axis.group).half_turn, leaf, dim)
    if axis.power < 0:
      return value * along((1 - 2 * (k % 2)).astype(value.dtype), leaf, dim)
    return value

  _check(turns, spec, ('phase',))
  return along_groups(turn, turns, params, spec)


def along_groups(
  change: Callable[[jax.Array, spec_lib.Leaf, int, jax.Array], jax.Array],
  values: Mapping[str, typing.Array],
  params: typing.Params,
  spec: spec_lib.Spec,
) -> typing.Params:
  """Applies change(weights, leaf, dim, values[id]) along every axis of the groups in `values`."""
  changed = {}
  for leaf in spec.leaves:
    value = jnp.asarray(params[leaf.path])
    for dim, axis in enumerate(leaf.axes):
      if axis.group in values:
        value = change(value, leaf, dim, jnp.asarray(values[axis.group]))
    changed[leaf.path] = value
  return changed


def along(factor: jax.Array, leaf: spec_lib.Leaf, dim: int) -> jax.Array:
  """Spreads one number per unit over axis `dim` of a parameter, to be broadcast."""
  axis = leaf.axes[dim]
  spread = jnp.tile(jnp.repeat(factor, axis.inner), axis.outer)
  shape = [1] * len(leaf.shape)
  shape[dim] = leaf.shape[dim]
  return spread.reshape(shape)


def _check(values: Mapping[str, typing.Array], spec: spec_lib.Spec, kinds: tuple[str, ...]) -> None:
  """Raises unless every entry belongs to a group of its length and kind."""
  groups = {group.id: group for group in spec.groups}
  for id, value in values.items():
    if id not in groups:
      raise ValueError(f'Unknown group {id!r}; known: {sorted(groups)}.')
    if tuple(value.shape) != (groups[id].size,):
      raise ValueError(
        f'Group {id!r} was given shape {tuple(value.shape)}; needed: ({groups[id].size},).'
      )
    if not set(kinds) & set(groups[id].kinds):
      raise ValueError(f'Group {id!r} allows {groups[id].kinds}; this needs one of {kinds}.')
