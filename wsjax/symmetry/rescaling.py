"""Rescale, negate or shift hidden units without changing the function.

`scales` is {group id: [n] float}: positive for groups of kind positive_scale (relu), +1 or -1 for
kind sign (tanh, sine). `turns` is {group id: [n] int}, half periods added to the phase of a sine
unit. Absent groups stay as they are.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

Scales = Mapping[str, typing.Array]
Turns = Mapping[str, typing.Array]


def apply(scales: Scales, params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """Multiplies what feeds a unit by its scale and divides what reads from it.

  Args:
    scales: group id -> [n], positive or +-1 as the kind of the group allows.
    params: weights of one network.
    spec: its symmetry.

  Returns:
    Weights of the same function.

  Raises:
    ValueError: if a group is unknown, has another length, or may not be scaled.

  Source: Godfrey et al. 2022, arXiv:2205.14258, table 1.
  """
  _check(scales, spec, ('positive_scale', 'sign'))
  scaled = {}
  for leaf in spec.leaves:
    value = jnp.asarray(params[leaf.path])
    for dim, axis in enumerate(leaf.axes):
      if axis.group in scales:
        scale = jnp.asarray(scales[axis.group], value.dtype)
        value = value * _along(scale if axis.power > 0 else 1 / scale, leaf, dim)
    scaled[leaf.path] = value
  return scaled


def apply_turns(turns: Turns, params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """Adds half periods to sine units and negates their readers accordingly.

  sin(w0 (z + k half_turn)) = (-1)^k sin(w0 z) with half_turn = pi / w0, so the bias grows by k
  half_turn and outgoing weights are multiplied by (-1)^k.

  Args:
    turns: group id -> [n] int number k of half turns.
    params: weights of one network.
    spec: its symmetry.

  Returns:
    Weights of the same function.

  Raises:
    ValueError: if a group is unknown, has another length or is not of kind phase.

  Source: Godfrey et al. 2022, arXiv:2205.14258 (intertwiner groups); the half turn is the identity
    sin(x + pi) = -sin(x).
  """
  _check(turns, spec, ('phase',))
  turned = {}
  for leaf in spec.leaves:
    value = jnp.asarray(params[leaf.path])
    for dim, axis in enumerate(leaf.axes):
      if axis.group not in turns:
        continue
      k = jnp.asarray(turns[axis.group])
      if axis.shift:
        shift = k.astype(value.dtype) * spec.group(axis.group).half_turn
        value = value + _along(shift, leaf, dim)
      elif axis.power < 0:
        value = value * _along((1 - 2 * (k % 2)).astype(value.dtype), leaf, dim)
    turned[leaf.path] = value
  return turned


def identity_scales(spec: spec_lib.Spec) -> dict[str, jax.Array]:
  """Ones for every group that may be scaled or negated."""
  return {
    group.id: jnp.ones(group.size)
    for group in spec.groups
    if {'positive_scale', 'sign'} & set(group.kinds)
  }


def identity_turns(spec: spec_lib.Spec) -> dict[str, jax.Array]:
  """Zeros for every group of kind phase."""
  return {
    group.id: jnp.zeros(group.size, jnp.int32) for group in spec.groups if 'phase' in group.kinds
  }


def random(key: jax.Array, spec: spec_lib.Spec, max_log_scale: float = 1.0) -> dict[str, jax.Array]:
  """Random scales: exp(U(-max, max)) where positive, +-1 where sign.

  Args:
    key: one typed key.
    spec: the symmetry.
    max_log_scale: largest absolute logarithm of a positive scale.

  Returns:
    group id -> [n], for the groups that may be scaled.
  """
  scales = {}
  for index, group in enumerate(spec.groups):
    size_key, sign_key = jax.random.split(jax.random.fold_in(key, index))
    scale = jnp.ones(group.size)
    if 'positive_scale' in group.kinds:
      scale = jnp.exp(
        jax.random.uniform(size_key, (group.size,), minval=-max_log_scale, maxval=max_log_scale)
      )
    if 'sign' in group.kinds:
      scale = scale * jax.random.rademacher(sign_key, (group.size,), jnp.float32)
    if {'positive_scale', 'sign'} & set(group.kinds):
      scales[group.id] = scale
  return scales


def random_turns(key: jax.Array, spec: spec_lib.Spec, max_turns: int = 2) -> dict[str, jax.Array]:
  """Uniform half turns in [-max_turns, max_turns] for groups of kind phase."""
  return {
    group.id: jax.random.randint(
      jax.random.fold_in(key, index), (group.size,), -max_turns, max_turns + 1
    )
    for index, group in enumerate(spec.groups)
    if 'phase' in group.kinds
  }


def _along(factor: jax.Array, leaf: spec_lib.Leaf, dim: int) -> jax.Array:
  """Spreads one number per unit over a block axis; ones elsewhere."""
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
