"""Two stacks of networks, rearranged so that matching them is matrix products.

Every leaf is seen once from each of its groups: the units of that group on one axis, everything
else on the other. Leaves with no other group are joined, so that they cost one matrix product for
all pairs and all sweeps. `propose` and `gain` are for accelerators; on the host, `host` does both.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib

MAX_SWEEPS = 100
# Gains below this share of the value are rounding; to follow them is to cycle.
TOLERANCE = 1e-6


class Term(NamedTuple):
  """One leaf, seen from one of its groups.

  Attributes:
    group: id of the group.
    path: of the leaf.
    dim: dimension of the group.
    part: 'out' if the leaf has outgoing weights of a group of kind phase, else 'in'.
    others: (id, power) of its other grouped axes.
    owned: whether this is the first grouped axis of the leaf, at which the objective counts it.
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
    right: the networks that move, alike, but term key -> [B, others, rest * n].
  """

  spec: spec_lib.Spec
  terms: Mapping[str, tuple[Term, ...]]
  left: Mapping[str, typing.Array]
  right: Mapping[str, typing.Array]

  @classmethod
  def make(cls, a: typing.StackedParams, b: typing.StackedParams, spec: spec_lib.Spec) -> 'Problem':
    """Rearranges the weights of both stacks."""
    terms = plan(spec)
    left, right = {}, {}
    for side, stack, units_last in ((left, a, False), (right, b, True)):
      for id, group_terms in terms.items():
        for part in ('in', 'out'):
          fixed = [t for t in group_terms if t.part == part and not t.others]
          if fixed:
            side[f'{id}:{part}'] = jnp.asarray(_join(stack, spec, fixed))
        for term in group_terms:
          if term.others:
            side[term.key] = jnp.asarray(units(stack, spec, term, units_last))
        if 'phase' in spec.group(id).kinds:
          side[f'{id}:bias'] = jnp.asarray(np.asarray(stack[spec.bias(id).path], np.float32))
    return cls(spec, terms, left, right)

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
  pieces = [units(stack, spec, term, True) for term in terms]
  return np.concatenate([piece.reshape(len(piece), -1, n) for piece in pieces], axis=1)


def units(
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
  a, at_a = np.unique(ia, return_inverse=True)
  b, at_b = np.unique(ib, return_inverse=True)
  rest, n = left.shape[1:]
  if len(a) * len(b) > 2 * len(ia):  # Few of the combinations are asked for.
    chunks = (slice(i, i + 64) for i in range(0, len(ia), 64))
    return jnp.concatenate([matmul(left[ia[at]].swapaxes(1, 2), right[ib[at]]) for at in chunks])
  wide_a, wide_b = (
    x[index].swapaxes(0, 1).reshape(rest, -1) for x, index in ((left, a), (right, b))
  )
  table = matmul(wide_a.T, wide_b).reshape(len(a), n, len(b), n)
  return table.swapaxes(1, 2)[at_a, at_b]


def matmul(x: typing.Array, y: typing.Array) -> typing.Array:
  """Matrix product in full float32, also where hardware would round more."""
  return jnp.matmul(x, y, precision='highest')


def _moved(term: Term, problem: Mapping[str, Any]) -> typing.Array:
  """[P, others * rest, n]: the leaf of b, its other groups in their places."""
  right, num = problem['right'][term.key], len(problem['ib'])
  rows = jnp.zeros((num, 1), np.int32)
  factor = None
  for id, power in term.others:
    perm = problem['perms'][id]
    rows = rows[:, :, None] * perm.shape[1] + perm[:, None]
    rows = rows.reshape(num, -1)
    by = jnp.ones(perm.shape, np.float32)
    if id in problem['signs']:
      by = problem['signs'][id]
      if power < 0:
        by = by * (1 - 2 * (problem['turns'][id] % 2)).astype(np.float32)
    if factor is not None:
      factor = (factor[:, :, None] * by[:, None]).reshape(num, -1)
    elif id in problem['signs'] or len(term.others) > 1:
      factor = by
  moved = right.reshape(-1, right.shape[2])[problem['ib'][:, None] * right.shape[1] + rows]
  if factor is not None:
    moved = moved * factor[:, :, None]
  return moved.reshape(num, -1, problem['perms'][term.group].shape[1])


def _stay(term: Term, problem: Mapping[str, Any]) -> typing.Array:
  """[P or 1, n, others * rest]: the leaf of a."""
  left = problem['left'][term.key]
  return left if left.shape[0] == 1 else left[problem['ia']]


def _parts(
  group: spec_lib.Group, terms: tuple[Term, ...], problem: Mapping[str, Any]
) -> dict[str, typing.Array]:
  """Part -> [P, n, n] gain of putting unit j of b at place i of a, before signs and half turns.

  Parts are 'in' and, for a group of kind phase, 'out'.
  """
  parts = _fixed(group, problem)
  for term in terms:
    gain = matmul(_stay(term, problem), _moved(term, problem))
    parts[term.part] = parts[term.part] + gain if term.part in parts else gain
  size = (len(problem['ia']), group.size, group.size)
  parts.setdefault('in', jnp.zeros(size, np.float32))
  return parts


def _fixed(group: spec_lib.Group, problem: Mapping[str, Any]) -> dict[str, typing.Array]:
  """Part -> [P, n, n], of the terms that no other group touches."""
  keys = {part: f'{group.id}:{part}' for part in ('in', 'out')}
  return {part: problem['fixed'][key] for part, key in keys.items() if key in problem['fixed']}


def _biases(group: spec_lib.Group, problem: Mapping[str, Any]) -> tuple[typing.Array, typing.Array]:
  """[P, n] biases of a and of b."""
  key = f'{group.id}:bias'
  return problem['left'][key][problem['ia']], problem['right'][key][problem['ib']]


def _pick(table: typing.Array, perm: typing.Array) -> typing.Array:
  """[P, n] entry of each row of a [P, n, n] table."""
  return jnp.take_along_axis(table, perm[:, :, None], 2)[:, :, 0]


def _table(
  group: spec_lib.Group, problem: Mapping[str, Any], parts: Mapping[str, typing.Array]
) -> tuple[typing.Array, typing.Array | None, typing.Array | None]:
  """[P, n, n] best gain over signs and half turns, and where it is reached.

  A sign multiplies incoming and outgoing weights, k half turns outgoing ones by (-1)^k. Of all k of
  one parity the best brings the biases nearest. Signs and turns are None for a group that can only
  be reordered.
  """
  if not {'sign', 'phase'} & set(group.kinds):
    return parts['in'], None, None
  half_turn, zero = group.half_turn, jnp.zeros_like(parts['in'])
  best = None
  for sign in (1, -1) if 'sign' in group.kinds else (1,):
    for parity in (0, 1) if 'phase' in group.kinds else (0,):
      gain, turns = sign * parts['in'], zero
      if 'out' in parts:
        gain = gain + sign * (1 - 2 * parity) * parts['out']
      if 'phase' in group.kinds:
        left, right = _biases(group, problem)
        gap = left[:, :, None] - sign * right[:, None]
        turns = parity + 2 * jnp.round((gap - parity * half_turn) / (2 * half_turn))
        gain = gain - (gap - turns * half_turn) ** 2 / 2
      new = gain, jnp.full_like(zero, sign), turns
      if best is not None:
        better = gain > best[0]
        new = tuple(jnp.where(better, *pair) for pair in zip(new, best, strict=True))
      best = new
  return best


def _value(
  group: spec_lib.Group, problem: Mapping[str, Any], picked: Mapping[str, typing.Array]
) -> typing.Array:
  """[P] gain of the present choice, from its [P, n] entries of the parts."""
  gain = picked['in']
  if group.id in problem['signs']:
    sign, turns = problem['signs'][group.id], problem['turns'][group.id]
    gain = sign * gain
    if 'out' in picked:
      gain = gain + sign * (1 - 2 * (turns % 2)) * picked['out']
  if 'phase' in group.kinds:
    left, right = _biases(group, problem)
    moved = sign * jnp.take_along_axis(right, problem['perms'][group.id], 1)
    gain = gain - (left - moved - turns * group.half_turn) ** 2 / 2
  return gain.sum(1)


def propose(
  solve: Callable[[typing.Array], typing.Array],
  group: spec_lib.Group,
  terms: tuple[Term, ...],
  problem: Mapping[str, Any],
  row_weights: typing.Array | None,
) -> tuple[tuple[typing.Array, ...], typing.Array, typing.Array]:
  """Matches one group while the others are held.

  Args:
    solve: [P, n, n] tables -> [P, n] best columns.
    group: whose units are matched.
    terms: the terms to count besides the fixed ones.
    problem: `fixed`, `left` and `right` of a `Problem`, `ia` and `ib` [P], and the present
      `perms`, `signs` and `turns`, group id -> [P, n].
    row_weights: [n] importance of each unit of a, or None.

  Returns:
    The best (permutation, signs, turns), each [P, n]; its gain [P], and the present gain [P].
  """
  parts = _parts(group, terms, problem)
  table, sign, turns = _table(group, problem, parts)
  perm = solve(table if row_weights is None else table * row_weights[None, :, None])
  if sign is None:
    sign, turns = jnp.ones(perm.shape, np.float32), jnp.zeros_like(perm)
  else:
    sign = _pick(sign, perm)
    turns = _pick(turns, perm).astype(np.int32)
  present = {part: _pick(x, problem['perms'][group.id]) for part, x in parts.items()}
  return ((perm, sign, turns), _pick(table, perm).sum(1), _value(group, problem, present))


def gain(
  group: spec_lib.Group, terms: tuple[Term, ...], problem: Mapping[str, Any]
) -> typing.Array:
  """[P] gain of the present choice for one group; no table is made."""
  perm = problem['perms'][group.id]
  picked = {part: _pick(x, perm) for part, x in _fixed(group, problem).items()}
  for term in terms:
    moved = jnp.take_along_axis(_moved(term, problem), perm[:, None], 2)
    stay = jnp.swapaxes(_stay(term, problem), 1, 2)
    more = (stay * moved).sum(1)
    picked[term.part] = picked.get(term.part, 0) + more
  picked.setdefault('in', jnp.zeros(perm.shape, np.float32))
  return _value(group, problem, picked)
