"""Spec: the symmetry group of the parameters of a model, as data.

Hidden units may be permuted and, depending on the activation, rescaled, negated or shifted by a
half period, together with their incoming and outgoing weights. A spec gives the group of
interchangeable units, if any, that lies along each axis of each parameter.

Source: Ainsworth et al. 2023, arXiv:2209.04836 (the idea of a spec);
Godfrey et al. 2022, arXiv:2205.14258 (groups by activation).
"""

import dataclasses
import importlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wsjax import typing

if TYPE_CHECKING:
  import jax

  from wsjax.symmetry import group as group_lib

# Above this size of a weight, distances in float32 mean nothing.
MAX_WEIGHT = 1e6
KINDS = ('permutation', 'positive_scale', 'sign', 'phase')

# Kinds of symmetry of each activation.
ACTIVATION_KINDS = {
  'relu': ('permutation', 'positive_scale'),
  'leaky_relu': ('permutation', 'positive_scale'),
  'tanh': ('permutation', 'sign'),
  'sine': ('permutation', 'sign', 'phase'),
  'gelu': ('permutation',),
  'silu': ('permutation',),
  'sigmoid': ('permutation',),
}


@dataclasses.dataclass(frozen=True)
class Group:
  """A set of interchangeable hidden units.

  Attributes:
    id: name, unique in the spec.
    size: number of units n.
    kinds: symmetries of the units, from `KINDS`; 'permutation' is first.
    half_turn: for 'phase' only: adding it to a unit's bias negates the unit, sin(w0 (z +
      half_turn)) = -sin(w0 z), so it is pi / w0.
  """

  id: str
  size: int
  kinds: tuple[str, ...] = ('permutation',)
  half_turn: float = 0.0

  def __post_init__(self) -> None:
    if unknown := set(self.kinds) - set(KINDS):
      raise ValueError(f'Group {self.id!r} has kinds {sorted(unknown)}; allowed: {KINDS}.')
    if self.kinds[:1] != ('permutation',):
      raise ValueError(
        f"Group {self.id!r} has kinds {self.kinds}; the first must be 'permutation'."
      )
    if self.size < 1:
      raise ValueError(f'Group {self.id!r} has size {self.size}, not >= 1.')
    if ('phase' in self.kinds) != (self.half_turn > 0):
      raise ValueError(
        f'Group {self.id!r}: half_turn > 0 goes with kind phase, and only with it; got '
        f'half_turn={self.half_turn} and kinds={self.kinds}.'
      )


@dataclasses.dataclass(frozen=True)
class Axis:
  """One axis of one parameter.

  The axis is read as (outer x group.size x inner), as it is after a flatten: a dense kernel behind
  a flattened [height, width, channels] image has outer = height * width and inner = 1.

  Attributes:
    group: id of the group whose units lie along the axis; None is pinned.
    outer: blocks before the group.
    inner: elements of a block after the group.
    power: +1 for incoming weights (multiplied by the unit's scale), -1 for outgoing ones (divided
      by it).
    shift: True for the bias of the unit: half periods are added to it.
  """

  group: str | None = None
  outer: int = 1
  inner: int = 1
  power: int = 1
  shift: bool = False


PINNED = Axis()


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One parameter: its path, its shape and one `Axis` per dimension."""

  path: str
  shape: tuple[int, ...]
  axes: tuple[Axis, ...]


@dataclasses.dataclass(frozen=True)
class Spec:
  """All symmetries of one architecture; hashable, so static under jit.

  Attributes:
    groups: the sets of interchangeable units, in forward order.
    leaves: every parameter, in forward order. This is also the order in which tokenizers read them.

  Raises:
    ValueError: if an axis names an unknown group or its length is not outer * size * inner, or if a
      group of kind phase has not exactly one bias, [size], to take its half turns.
  """

  groups: tuple[Group, ...]
  leaves: tuple[Leaf, ...]

  def __post_init__(self) -> None:
    sizes = {group.id: group.size for group in self.groups}
    if len(sizes) != len(self.groups):
      raise ValueError('Two groups of a Spec have the same id.')
    for leaf in self.leaves:
      if len(leaf.shape) != len(leaf.axes):
        raise ValueError(f'{leaf.path} has shape {leaf.shape} but {len(leaf.axes)} axes.')
      for length, axis in zip(leaf.shape, leaf.axes, strict=True):
        if axis.group is None:
          continue
        if axis.group not in sizes:
          raise ValueError(f'{leaf.path} names group {axis.group!r}; known: {sorted(sizes)}.')
        if length != axis.outer * sizes[axis.group] * axis.inner:
          raise ValueError(
            f'{leaf.path} has an axis of length {length}, which is not outer {axis.outer} x '
            f'group {sizes[axis.group]} x inner {axis.inner}.'
          )
    for group in self.groups:
      biases = [leaf for leaf in self.leaves if _shifts(leaf, group.id)]
      if 'phase' in group.kinds and [leaf.shape for leaf in biases] != [(group.size,)]:
        raise ValueError(
          f'Group {group.id!r} of kind phase needs one leaf of shape ({group.size},) with '
          f'shift=True; got {[leaf.path for leaf in biases]}.'
        )

  @property
  def num_params(self) -> int:
    """Number of weights of one network."""
    return sum(math.prod(leaf.shape) for leaf in self.leaves)

  def group(self, id: str) -> Group:
    """The group of that id."""
    return next(group for group in self.groups if group.id == id)

  def bias(self, id: str) -> Leaf:
    """The leaf that takes the half turns of a group of kind phase."""
    return next(leaf for leaf in self.leaves if _shifts(leaf, id))

  def permutations_only(self) -> 'Spec':
    """The spec with permutations only."""
    groups = tuple(Group(group.id, group.size) for group in self.groups)
    return dataclasses.replace(self, groups=groups)

  def identity(self) -> 'group_lib.GroupElement':
    """The group element that changes nothing."""
    return _room('group').identity(self)

  def random(self, key: 'jax.Array', max_log_scale: float = 1.0) -> 'group_lib.GroupElement':
    """A random group element; scales lie within exp(+-max_log_scale)."""
    return _room('group').random(key, self, max_log_scale)

  def act(self, g: 'group_lib.GroupElement', params: typing.Params) -> typing.Params:
    """Moves the units of one network, or of n networks by n elements; functions stay."""
    leaf = self.leaves[0]
    if len(params[leaf.path].shape) > len(leaf.shape):
      return _room('group').act_all(g, dict(params), self)
    return _room('group').act_one(g, dict(params), self)

  def balance(self, networks: typing.StackedParams) -> dict[str, np.ndarray]:
    """Scales the units of n networks to the smallest norm; see `canonicalize.balance`."""
    return _room('canonicalize').balance_all(networks, self)

  def canonicalize(
    self, networks: typing.StackedParams, mode: str, *, reference: typing.Params, **options: int
  ) -> dict[str, np.ndarray]:
    """One representative of the orbit of each network; see `canonicalize.canonicalize`."""
    return _room('canonicalize').canonicalize(networks, self, mode, reference=reference, **options)

  def match(
    self, reference: typing.Params, networks: typing.StackedParams, **options: Any
  ) -> 'group_lib.GroupElement':
    """The elements that move n networks onto one; see `weight_matching.weight_matching`."""
    return _room('matching.weight_matching').weight_matching(reference, networks, self, **options)

  def distance(
    self,
    a: typing.StackedParams,
    b: typing.StackedParams,
    *,
    reference: typing.Params,
    pairs: typing.Array | None = None,
    **options: int,
  ) -> np.ndarray:
    """Distance of every network of a to every one of b, or of pairs; see `distance.distance`."""
    return _room('distance').distance(a, b, self, reference=reference, pairs=pairs, **options)

  def nearest(
    self,
    networks: typing.StackedParams,
    zoo: typing.StackedParams,
    *,
    reference: typing.Params,
    **options: int,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Distance and index of the network of a zoo nearest to each; see `distance.Neighbours`."""
    search = _room('distance').Neighbours(zoo, self, reference, **options)
    return search.nearest(networks)

  def check(self, params: typing.Params, *, stacked: bool = False) -> None:
    """Raises unless `params`, path -> array, are weights of this architecture.

    If `stacked`, every array has a leading axis over networks.

    Raises:
      ValueError: naming the first path that is missing, unknown, or of another shape.
    """
    paths = {leaf.path for leaf in self.leaves}
    if missing := sorted(paths - set(params)):
      raise ValueError(f'Parameters lack {missing[0]!r}; got {sorted(params)}.')
    if unknown := sorted(set(params) - paths):
      raise ValueError(
        f'Parameters have {unknown[0]!r}, which the architecture has not; it has {sorted(paths)}.'
      )
    for leaf in self.leaves:
      shape = tuple(params[leaf.path].shape)[1 if stacked else 0 :]
      if shape != leaf.shape:
        raise ValueError(f'{leaf.path} has shape {shape}; the architecture has {leaf.shape}.')

  def to_json(self) -> dict[str, Any]:
    """A JSON value that `from_json` reads back to an equal spec."""
    return {
      'groups': [dataclasses.asdict(group) for group in self.groups],
      'leaves': [dataclasses.asdict(leaf) for leaf in self.leaves],
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> 'Spec':
    """The spec that `to_json` wrote; ValueError if `value` is not of that form."""
    try:
      groups = tuple(
        Group(**{**group, 'kinds': tuple(group['kinds'])}) for group in value['groups']
      )
      leaves = tuple(
        Leaf(leaf['path'], tuple(leaf['shape']), tuple(Axis(**axis) for axis in leaf['axes']))
        for leaf in value['leaves']
      )
      return cls(groups, leaves)
    except (KeyError, TypeError, AttributeError) as error:
      raise ValueError(f'Not a Spec: {error!r}.') from error


def finite(params: typing.StackedParams) -> np.ndarray:
  """[n] bool, whether all weights of each network, path -> [n, ...], are finite and at most 1e6."""
  sizes = [
    np.abs(np.asarray(value, np.float32)).reshape(len(value), -1).max(axis=1, initial=0.0)
    for value in params.values()
  ]
  return np.all([size <= MAX_WEIGHT for size in sizes], axis=0)  # False for NaN.


def _room(name: str) -> Any:
  """A module of this room; all of them import this one."""
  return importlib.import_module(f'wsjax.symmetry.{name}')


def _shifts(leaf: Leaf, id: str) -> bool:
  """Whether half turns of group `id` are added to `leaf`."""
  return any(axis.group == id and axis.shift for axis in leaf.axes)


def dense(
  path: str, fan_in: int, fan_out: int, *, reads: str | None, feeds: str | None, outer: int = 1
) -> tuple[Leaf, Leaf]:
  """Leaves `path/kernel` [fan_in, fan_out] and `path/bias` [fan_out] of a dense layer.

  The inputs are the units of group `reads`, None for data, with `outer` blocks before them after a
  flatten; the outputs are those of group `feeds`, None for the network's output.
  """
  out = Axis(feeds)
  return (
    Leaf(f'{path}/kernel', (fan_in, fan_out),
         (Axis(reads, outer=outer, power=-1), out)),
    Leaf(f'{path}/bias', (fan_out,), (dataclasses.replace(out, shift=True),)),
  )  # fmt: skip


def conv(
  path: str,
  window: tuple[int, int],
  fan_in: int,
  fan_out: int,
  *,
  reads: str | None,
  feeds: str | None,
) -> tuple[Leaf, Leaf]:
  """Leaves of a convolution, kernel [height, width, in, out] and bias [out]."""
  kernel, bias = dense(path, fan_in, fan_out, reads=reads, feeds=feeds)
  return (Leaf(kernel.path, (*window, *kernel.shape), (PINNED, PINNED, *kernel.axes)), bias)
