"""Two stacks of networks, rearranged so that matching them is matrix products.

Every leaf is seen once from each of its groups: the units of that group on one axis, everything
else on the other. Leaves with no other group are joined, so that they cost one matrix product for
all pairs and all sweeps.
"""

import dataclasses
import math
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib


class Term(NamedTuple):
  """One leaf, seen from one of its groups.

  Attributes:
    group: id of the group.
    path: of the leaf.
    dim: dimension of the group.
    part: 'out' if the leaf reads from a group of kind phase, else 'in'.
    others: (id, power) of its other grouped axes; empty if it has none.
    owned: whether this is the first grouped axis of the leaf, the one at which the leaf is counted
      in the objective.
  """

  group: str
  path: str
  dim: int
  part: str
  others: tuple[tuple[str, int], ...]
  owned: bool

  @property
  def key(self) -> str:
    """Names the term among the arrays of a `Problem`."""
    return f'{self.path}:{self.dim}'


def plan(spec: spec_lib.Spec) -> dict[str, tuple[Term, ...]]:
  """Group id -> its terms; biases that take half turns are left out."""
  terms = {group.id: [] for group in spec.groups}
  for leaf in spec.leaves:
    dims = [i for i, axis in enumerate(leaf.axes) if axis.group is not None]
    for dim in dims:
      axis = leaf.axes[dim]
      phase = 'phase' in spec.group(axis.group).kinds
      if phase and axis.shift:
        continue
      terms[axis.group].append(
        Term(
          axis.group,
          leaf.path,
          dim,
          'out' if phase and axis.power < 0 else 'in',
          tuple((leaf.axes[i].group, leaf.axes[i].power) for i in dims if i != dim),
          dim == dims[0],
        )
      )
  return {id: tuple(group_terms) for id, group_terms in terms.items()}


@dataclasses.dataclass(frozen=True)
class Problem:
  """Two stacks of networks, rearranged once for all their pairs.

  Attributes:
    spec: their symmetry.
    terms: `plan(spec)`.
    left: the networks that stay: term key -> [A, n, others * rest]; 'id:part' -> [A, rest, n], all
      terms of the group that have no other groups; and 'id:bias' -> [A, n] where the group has half
      turns.
    right: the networks that move: the same keys, but term key ->
      [B, others, rest * n].
    solver: 'scipy' (NumPy on the host) or 'optax' (compiled, on the device).
  """

  spec: spec_lib.Spec
  terms: Mapping[str, tuple[Term, ...]]
  left: Mapping[str, typing.Array]
  right: Mapping[str, typing.Array]
  solver: str

  @classmethod
  def make(
    cls, a: typing.StackedParams, b: typing.StackedParams, spec: spec_lib.Spec, solver: str
  ) -> 'Problem':
    """Rearranges the weights of both stacks."""
    terms = plan(spec)
    left, right = {}, {}
    put = jnp.asarray if solver == 'optax' else np.asarray
    for id, group_terms in terms.items():
      for part in ('in', 'out'):
        fixed = [t for t in group_terms if t.part == part and not t.others]
        for side, stack in ((left, a), (right, b)):
          if fixed:
            side[f'{id}:{part}'] = put(_join(stack, spec, fixed))
      for term in group_terms:
        if term.others:
          left[term.key] = put(_units(a, spec, term, False))
          right[term.key] = put(_units(b, spec, term, True))
      if 'phase' in spec.group(id).kinds:
        path = spec.bias(id).path
        left[f'{id}:bias'] = put(np.asarray(a[path], np.float32))
        right[f'{id}:bias'] = put(np.asarray(b[path], np.float32))
    return cls(spec, terms, left, right, solver)

  def bytes_per_pair(self) -> int:
    """Memory that one pair needs while it is matched, about."""
    tables = sum(group.size**2 for group in self.spec.groups) * 4 * 2
    work = max((8 * group.size**2 * 8 for group in self.spec.groups), default=0)
    gathered = max((8 * math.prod(x.shape[1:]) for x in self.right.values()), default=0)
    return tables + work + gathered

  def fixed(self, ia: np.ndarray, ib: np.ndarray) -> dict[str, typing.Array]:
    """'id:part' -> [P, n, n] contribution that no sweep changes."""
    keys = (f'{id}:{part}' for id in self.terms for part in ('in', 'out'))
    return {
      key: _products(self.left[key], self.right[key], ia, ib) for key in keys if key in self.left
    }


def _join(stack: typing.StackedParams, spec: spec_lib.Spec, terms: list[Term]) -> np.ndarray:
  """[N, rest, n] of several terms one below the other."""
  n = spec.group(terms[0].group).size
  pieces = [_units(stack, spec, term, True) for term in terms]
  return np.concatenate([piece.reshape(len(piece), -1, n) for piece in pieces], axis=1)


def _units(
  stack: typing.StackedParams, spec: spec_lib.Spec, term: Term, units_last: bool
) -> np.ndarray:
  """[N, n, others * rest], or [N, others, rest * n] with units last."""
  path, dim = term.path, term.dim
  leaf = next(leaf for leaf in spec.leaves if leaf.path == path)
  value = np.asarray(stack[path], np.float32)
  shape, at = [value.shape[0]], {}
  for i, axis in enumerate(leaf.axes):
    if axis.group is None:
      shape.append(leaf.shape[i])
    else:
      at[i] = len(shape) + 1
      shape += [axis.outer, spec.group(axis.group).size, axis.inner]
  value = value.reshape(shape)
  others = [at[i] for i in at if i != dim]
  rest = [i for i in range(1, len(shape)) if i not in at.values()]
  if units_last:
    count = math.prod(shape[i] for i in others)
    value = value.transpose(0, *others, *rest, at[dim])
    return np.ascontiguousarray(value.reshape(shape[0], count, -1))
  value = value.transpose(0, at[dim], *others, *rest)
  return np.ascontiguousarray(value.reshape(shape[0], shape[at[dim]], -1))


def _products(
  left: typing.Array, right: typing.Array, ia: np.ndarray, ib: np.ndarray
) -> typing.Array:
  """[P, n, n] products of units of a and b, one large product if it pays."""
  xp = module(left)
  a, at_a = np.unique(ia, return_inverse=True)
  b, at_b = np.unique(ib, return_inverse=True)
  rest, n = left.shape[1:]
  if len(a) * len(b) > 2 * len(ia):  # Few of the combinations are asked for.
    return xp.concatenate(
      [
        matmul(xp, left[ia[i : i + 64]].swapaxes(1, 2), right[ib[i : i + 64]])
        for i in range(0, len(ia), 64)
      ]
    )
  wide_a, wide_b = (
    x[index].swapaxes(0, 1).reshape(rest, -1) for x, index in ((left, a), (right, b))
  )
  table = matmul(xp, wide_a.T, wide_b).reshape(len(a), n, len(b), n)
  return table.swapaxes(1, 2)[at_a, at_b]


def module(array: typing.Array) -> ModuleType:
  """NumPy for host arrays, jax.numpy for others."""
  return np if isinstance(array, np.ndarray) else jnp


def matmul(xp: ModuleType, x: typing.Array, y: typing.Array) -> typing.Array:
  """Matrix product in full float32, also where hardware would round more."""
  return np.matmul(x, y) if xp is np else jnp.matmul(x, y, precision='highest')
