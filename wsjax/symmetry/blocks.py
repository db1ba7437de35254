"""Permutations that a spec does not hold: of part of an axis, or different ones in each block.

A spec has one group per axis. Blocks may move apart from each other: the hidden units of each of
many stacked layers or experts, the channels of each half of a concatenation.
"""

import dataclasses
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import slot as slot_lib


@dataclasses.dataclass(frozen=True)
class Factor:
  """One factor of an axis, outermost first.

  Attributes:
    size: its length.
    role: 'units', 'other', or the place of a set in `Blocks.per`.
    pieces: for an axis of pieces one after the other, the factors of each.
  """

  size: int
  role: str | int = 'other'
  pieces: tuple[tuple['Factor', ...], ...] = ()


@dataclasses.dataclass(frozen=True)
class Blocks:
  """Interchangeable units.

  Attributes:
    group: id of the group of the spec that moves all blocks alike; None if there is none.
    size: number of units n.
    leaves: (path, factors of every axis) of the parameters with such units.
    per: (name, size) of the sets for each unit of which there is a permutation of its own.
    slots: for each of `leaves`, which part of the parameter it is; empty for whole ones.
  """

  group: str | None
  size: int
  leaves: tuple[tuple[str, tuple[tuple[Factor, ...], ...]], ...]
  per: tuple[tuple[str, int], ...] = ()
  slots: tuple[tuple[slot_lib.Slot, ...], ...] = ()

  @property
  def parts(self) -> list[tuple[str, tuple[tuple[Factor, ...], ...], tuple[slot_lib.Slot, ...]]]:
    """`leaves` with their slots."""
    slots = self.slots or ((),) * len(self.leaves)
    return [(*leaf, part) for leaf, part in zip(self.leaves, slots, strict=True)]

  @property
  def names(self) -> tuple[str, ...]:
    """Parameter axes with the units, as 'path:dim'."""
    return tuple(
      f'{path}{"".join(map(str, slots))}:{dim}'
      for path, axes, slots in self.parts
      for dim, factors in enumerate(axes)
      if any(role == 'units' for role, _, _ in _coordinates(factors))
    )

  def __str__(self) -> str:
    text = f'{self.size} units'
    if self.per:
      text += ' for each unit of ' + ' and '.join(name for name, _ in self.per)
    return text

  def random(self, key: jax.Array) -> jax.Array:
    """Random permutations [*per, n]."""
    shape = *(n for _, n in self.per), self.size
    return jnp.argsort(jax.random.uniform(key, shape), -1)

  def act(self, element: jax.Array, params: typing.Params) -> dict[str, jax.Array]:
    """Weights of the same function: `params`, path -> weights of one network, with moved units."""
    moved = dict(params)
    for path, axes, slots in self.parts:
      value = slot_lib.take(slots, moved[path])
      ndim = len(axes)
      coordinates = [list(_coordinates(factors)) for factors in axes]
      block = [np.zeros((1,) * ndim, np.int64) for _ in self.per]
      for dim, found in enumerate(coordinates):
        for role, place, _ in found:
          if isinstance(role, int):
            block[role] = np.maximum(block[role], _along(place, dim, ndim))
      grid = [_along(np.arange(n), dim, ndim) for dim, n in enumerate(value.shape)]
      for dim, found in enumerate(coordinates):
        index = grid[dim]
        for role, place, stride in found:
          if role == 'units':
            at = _along(place, dim, ndim)
            step = element[(*block, np.maximum(at, 0))] - at
            index = index + step * _along(stride * (place >= 0), dim, ndim)
        if index is not grid[dim]:
          value = value[(*grid[:dim], index, *grid[dim + 1 :])]
      moved[path] = slot_lib.put(slots, moved[path], value)
    return moved


def elements(factors: tuple[Factor, ...]) -> frozenset[tuple[int, ...]]:
  """Where the first two units lie on an axis, and with them all others; empty without units."""
  found = set()
  for role, place, stride in _coordinates(factors):
    if role == 'units':
      starts = np.flatnonzero(place == 0)
      found |= {(int(at), int(stride[at])) for at in starts}
  return frozenset(found)


def _along(vector: np.ndarray, dim: int, ndim: int) -> np.ndarray:
  return vector.reshape([-1 if axis == dim else 1 for axis in range(ndim)])


def _coordinates(factors: tuple[Factor, ...]) -> Iterator[tuple[str | int, np.ndarray, np.ndarray]]:
  """(role, place in the factor of each element or -1, distance between neighbours) of an axis."""
  positions = np.arange(math.prod(factor.size for factor in factors))
  inner = len(positions)
  for factor in factors:
    inner //= factor.size
    at = positions // inner % factor.size
    if factor.role != 'other':
      yield factor.role, at, np.full_like(at, inner)
    start = 0
    for piece in factor.pieces:
      length = math.prod(f.size for f in piece)
      inside = (at >= start) & (at < start + length)
      shifted = np.where(inside, at - start, 0)
      for role, place, stride in _coordinates(piece):
        yield (role, np.where(inside, place[shifted], -1), stride[shifted] * inner)
      start += length
