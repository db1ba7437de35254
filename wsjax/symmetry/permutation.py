"""Reorder the hidden units of a network, and every weight along with them.

`perms` is {group id: [n] int}; perms[g][i] is the old index of the unit that is now at place i (a
gather). Groups that are absent stay as they are.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

Perms = Mapping[str, typing.Array]


def apply(perms: Perms, params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """Moves units to their new places; the function stays the same.

  Args:
    perms: group id -> [n] old index now at each place.
    params: weights of one network.
    spec: its symmetry.

  Returns:
    The same network in another order.

  Raises:
    ValueError: if `perms` names an unknown group or has another length.

  Source: Ainsworth et al. 2023, arXiv:2209.04836, section 2.
  """
  _check(perms, spec)
  moved = {}
  for leaf in spec.leaves:
    value = jnp.asarray(params[leaf.path])
    for dim, axis in enumerate(leaf.axes):
      if axis.group in perms:
        blocks = (axis.outer, spec.group(axis.group).size, axis.inner)
        value = jnp.take(
          value.reshape(leaf.shape[:dim] + blocks + leaf.shape[dim + 1 :]),
          jnp.asarray(perms[axis.group]),
          axis=dim + 1,
        ).reshape(leaf.shape)
    moved[leaf.path] = value
  return moved


def invert(perms: Perms) -> dict[str, jax.Array]:
  """The reordering that undoes `perms`."""
  return {id: jnp.argsort(jnp.asarray(perm)) for id, perm in perms.items()}


def compose(second: Perms, first: Perms) -> dict[str, jax.Array]:
  """The reordering that does `first`, then `second`.

  Args:
    second: group id -> [n].
    first: the same ids.

  Returns:
    group id -> [n].

  Raises:
    ValueError: if the two do not have the same groups.
  """
  if set(second) != set(first):
    raise ValueError(
      f'compose needs permutations of the same groups; got {sorted(second)} and {sorted(first)}.'
    )
  return {id: jnp.take(jnp.asarray(first[id]), jnp.asarray(second[id])) for id in first}


def identity(spec: spec_lib.Spec) -> dict[str, jax.Array]:
  """Leaves every unit where it is."""
  return {group.id: jnp.arange(group.size, dtype=jnp.int32) for group in spec.groups}


def random(key: jax.Array, spec: spec_lib.Spec) -> dict[str, jax.Array]:
  """A uniformly random order of every group."""
  return {
    group.id: jax.random.permutation(
      jax.random.fold_in(key, index), jnp.arange(group.size, dtype=jnp.int32)
    )
    for index, group in enumerate(spec.groups)
  }


def _check(perms: Perms, spec: spec_lib.Spec) -> None:
  """Raises unless every permutation belongs to a group of its length."""
  sizes = {group.id: group.size for group in spec.groups}
  for id, perm in perms.items():
    if id not in sizes:
      raise ValueError(f'Unknown group {id!r}; known: {sorted(sizes)}.')
    if tuple(perm.shape) != (sizes[id],):
      raise ValueError(
        f'The permutation of group {id!r} has shape {tuple(perm.shape)}; needed: ({sizes[id]},).'
      )
