"""Tables of gains of placing each unit of b at each place of a.

Written for NumPy on the host and jax.numpy on a device alike; `xp` is the module. `problem` holds,
for the pairs in question: `fixed`, `left` and `right` as in `matching_problem.Problem`, `ia` and
`ib` [P], and the present `perms`, `signs` and `turns`, group id -> [P, n].
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from wsjax import typing
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import problem as problem_lib

# perm, sign and turns of one group, each [P, n].
Choice: TypeAlias = tuple[typing.Array, typing.Array, typing.Array]


def _moved(xp: ModuleType, term: problem_lib.Term, problem: Mapping[str, Any]) -> typing.Array:
  """[P, others * rest, n]: the leaf of b, its other groups in their places."""
  right, num = problem['right'][term.key], len(problem['ib'])
  rows = xp.zeros((num, 1), np.int32)
  factor = None
  for id, power in term.others:
    perm = problem['perms'][id]
    rows = rows[:, :, None] * perm.shape[1] + perm[:, None]
    rows = rows.reshape(num, -1)
    by = xp.ones(perm.shape, np.float32)
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


def _stay(term: problem_lib.Term, problem: Mapping[str, Any]) -> typing.Array:
  """[P or 1, n, others * rest]: the leaf of a."""
  left = problem['left'][term.key]
  return left if left.shape[0] == 1 else left[problem['ia']]


def _parts(
  xp: ModuleType,
  group: spec_lib.Group,
  terms: tuple[problem_lib.Term, ...],
  problem: Mapping[str, Any],
) -> dict[str, typing.Array]:
  """Part -> [P, n, n] gain of putting unit j of b at place i of a.

  Args:
    xp: numpy or jax.numpy.
    group: whose units are matched.
    terms: the terms to count besides the fixed ones.
    problem: see the top of the file.

  Returns:
    'in' and, for a group of kind phase, 'out': before signs and half turns.
  """
  parts = _fixed(group, problem)
  for term in terms:
    gain = problem_lib.matmul(xp, _stay(term, problem), _moved(xp, term, problem))
    parts[term.part] = parts[term.part] + gain if term.part in parts else gain
  size = (len(problem['ia']), group.size, group.size)
  parts.setdefault('in', xp.zeros(size, np.float32))
  return parts


def _fixed(group: spec_lib.Group, problem: Mapping[str, Any]) -> dict[str, typing.Array]:
  """Part -> [P, n, n], of the terms that no other group touches."""
  keys = {part: f'{group.id}:{part}' for part in ('in', 'out')}
  return {part: problem['fixed'][key] for part, key in keys.items() if key in problem['fixed']}


def _pick(xp: ModuleType, table: typing.Array, perm: typing.Array) -> typing.Array:
  """[P, n] entry of each row of a [P, n, n] table."""
  return xp.take_along_axis(table, perm[:, :, None], 2)[:, :, 0]


def _residual(
  xp: ModuleType, group: spec_lib.Group, problem: Mapping[str, Any]
) -> Callable[[int, typing.Array], typing.Array]:
  """(sign, turns) -> a_i - sign b_j - turns * half_turn, [P, n, n]."""
  left = problem['left'][f'{group.id}:bias'][problem['ia']]
  right = problem['right'][f'{group.id}:bias'][problem['ib']]
  return lambda sign, turns: left[:, :, None] - sign * right[:, None] - turns * group.half_turn


def _table(
  xp: ModuleType,
  group: spec_lib.Group,
  problem: Mapping[str, Any],
  parts: Mapping[str, typing.Array],
) -> tuple[typing.Array, typing.Array | None, typing.Array | None]:
  """Best gain over signs and half turns, and where it is reached.

  A sign s multiplies what feeds and what reads; k half turns multiply what reads by (-1)^k. Of all
  k of one parity the best is the one that brings the biases nearest.

  Returns:
    [P, n, n] gains, signs, turns; the last two are None for a group that can only be reordered.
  """
  if not {'sign', 'phase'} & set(group.kinds):
    return parts['in'], None, None
  zero = xp.zeros_like(parts['in'])
  best = None
  for sign in (1, -1) if 'sign' in group.kinds else (1,):
    for parity in (0, 1) if 'phase' in group.kinds else (0,):
      gain, turns = sign * parts['in'], zero
      if 'out' in parts:
        gain = gain + sign * (1 - 2 * parity) * parts['out']
      if 'phase' in group.kinds:
        residual = _residual(xp, group, problem)
        double = 2 * group.half_turn
        turns = parity + 2 * xp.round(residual(sign, parity) / double)
        gain = gain - residual(sign, turns) ** 2 / 2
      if best is None:
        best = gain, xp.full_like(zero, sign), turns
      else:
        better = gain > best[0]
        best = tuple(
          xp.where(better, new, old)
          for new, old in zip((gain, xp.full_like(zero, sign), turns), best, strict=True)
        )
  return best


def _value(
  xp: ModuleType,
  group: spec_lib.Group,
  problem: Mapping[str, Any],
  picked: Mapping[str, typing.Array],
) -> typing.Array:
  """[P] gain of the present choice, from its [P, n] entries of the parts."""
  gain = picked['in']
  if group.id in problem['signs']:
    sign, turns = problem['signs'][group.id], problem['turns'][group.id]
    gain = sign * gain
    if 'out' in picked:
      gain = gain + sign * (1 - 2 * (turns % 2)) * picked['out']
  if 'phase' in group.kinds:
    left = problem['left'][f'{group.id}:bias'][problem['ia']]
    right = problem['right'][f'{group.id}:bias'][problem['ib']]
    moved = sign * xp.take_along_axis(right, problem['perms'][group.id], 1)
    gain = gain - (left - moved - turns * group.half_turn) ** 2 / 2
  return gain.sum(1)


def propose(
  xp: ModuleType,
  solve: Callable[[typing.Array], typing.Array],
  group: spec_lib.Group,
  terms: tuple[problem_lib.Term, ...],
  problem: Mapping[str, Any],
  row_weights: typing.Array | None,
) -> tuple[Choice, typing.Array, typing.Array]:
  """Matches one group while the others are held.

  Args:
    xp: numpy or jax.numpy.
    solve: [P, n, n] tables -> [P, n] best columns.
    group: whose units are matched.
    terms: the terms to count besides the fixed ones.
    problem: see the top of the file.
    row_weights: [n] importance of each unit of a, or None.

  Returns:
    The best choice, its gain [P], and the gain [P] of the present choice.
  """
  parts = _parts(xp, group, terms, problem)
  table, sign, turns = _table(xp, group, problem, parts)
  perm = solve(table if row_weights is None else table * row_weights[None, :, None])
  if sign is None:
    sign, turns = xp.ones(perm.shape, np.float32), xp.zeros_like(perm)
  else:
    sign = _pick(xp, sign, perm)
    turns = _pick(xp, turns, perm).astype(np.int32)
  present = {part: _pick(xp, x, problem['perms'][group.id]) for part, x in parts.items()}
  return ((perm, sign, turns), _pick(xp, table, perm).sum(1), _value(xp, group, problem, present))


def gain(
  xp: ModuleType,
  group: spec_lib.Group,
  terms: tuple[problem_lib.Term, ...],
  problem: Mapping[str, Any],
) -> typing.Array:
  """[P] gain of the present choice for one group; no table is made."""
  perm = problem['perms'][group.id]
  picked = {part: _pick(xp, x, perm) for part, x in _fixed(group, problem).items()}
  for term in terms:
    moved = xp.take_along_axis(_moved(xp, term, problem), perm[:, None], 2)
    stay = xp.swapaxes(_stay(term, problem), 1, 2)
    more = (stay * moved).sum(1)
    picked[term.part] = picked.get(term.part, 0) + more
  picked.setdefault('in', xp.zeros(perm.shape, np.float32))
  return _value(xp, group, problem, picked)
