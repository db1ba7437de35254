"""Tables of gains: what each unit of b is worth at each place of a.

Written for NumPy on the host and jax.numpy on a device alike; `xp` is the
module. `problem` holds, for the pairs in question: `fixed`, `left` and `right`
as in `matching_problem.Problem`, `ia` and `ib` [P], and the present `perms`,
`signs` and `turns`, group id -> [P, n].
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from wsjax import typing
from wsjax.symmetry import matching_problem
from wsjax.symmetry import spec as spec_lib

# perm, sign and turns of one group, each [P, n].
Choice: TypeAlias = tuple[typing.Array, typing.Array, typing.Array]


def _parts(
  xp: ModuleType,
  group: spec_lib.Group,
  terms: tuple[matching_problem.Term, ...],
  problem: Mapping[str, Any],
) -> dict[str, typing.Array]:
  """Part -> [P, n, n] gain of putting unit j of b at place i of a.

  Args:
    xp: numpy or jax.numpy.
    group: whose units are matched.
    terms: the terms to count besides the fixed ones.
    problem: arrays `fixed`, `left`, `right`, `perms`, `signs`, `turns`, `ia`,
      `ib`; see `propose`.

  Returns:
    'in' and, for a group of kind phase, 'out': before signs and half turns.
  """
  parts = {
    part: problem['fixed'].get(f'{group.id}:{part}') for part in ('in', 'out')
  }
  for term in terms:
    left, right = problem['left'][term.key], problem['right'][term.key]
    rows = xp.zeros((len(problem['ia']), 1), np.int32)
    factor = xp.ones((len(problem['ia']), 1), np.float32)
    for id, power in term.others:
      perm = problem['perms'][id]
      n = perm.shape[1]
      rows = (rows[:, :, None] * n + perm[:, None]).reshape(len(perm), -1)
      by = problem['signs'][id]
      if power < 0:
        by = by * (1 - 2 * (problem['turns'][id] % 2)).astype(np.float32)
      factor = (factor[:, :, None] * by[:, None]).reshape(len(perm), -1)
    count = right.shape[1]
    moved = right.reshape(-1, right.shape[2])[
      problem['ib'][:, None] * count + rows
    ]
    moved = (moved * factor[:, :, None]).reshape(len(rows), -1, group.size)
    stay = left if left.shape[0] == 1 else left[problem['ia']]
    gain = matching_problem.matmul(xp, stay, moved)
    part = parts[term.part]
    parts[term.part] = gain if part is None else part + gain
  if parts['in'] is None:
    size = (len(problem['ia']), group.size, group.size)
    parts['in'] = xp.zeros(size, np.float32)
  return {part: table for part, table in parts.items() if table is not None}


def _residual(
  xp: ModuleType, group: spec_lib.Group, problem: Mapping[str, Any]
) -> Callable[[int, typing.Array], typing.Array]:
  """(sign, turns) -> a_i - sign b_j - turns * half_turn, [P, n, n]."""
  left = problem['left'][f'{group.id}:bias'][problem['ia']]
  right = problem['right'][f'{group.id}:bias'][problem['ib']]
  return lambda sign, turns: (
    left[:, :, None] - sign * right[:, None] - turns * group.half_turn
  )


def _table(
  xp: ModuleType,
  group: spec_lib.Group,
  problem: Mapping[str, Any],
  parts: Mapping[str, typing.Array],
) -> tuple[typing.Array, typing.Array, typing.Array]:
  """Best gain over signs and half turns, and where it is reached.

  A sign s multiplies what feeds and what reads; k half turns multiply what
  reads by (-1)^k. Of all k of one parity the best is the one that brings the
  biases nearest.

  Returns:
    [P, n, n] gains, signs, turns.
  """
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
          for new, old in zip(
            (gain, xp.full_like(zero, sign), turns), best, strict=True
          )
        )
  return best


def _value(
  xp: ModuleType,
  group: spec_lib.Group,
  problem: Mapping[str, Any],
  parts: Mapping[str, typing.Array],
  state: tuple[typing.Array, ...],
) -> typing.Array:
  """[P] gain of one given assignment with its signs and turns."""
  perm, sign, turns = state

  def pick(table: typing.Array) -> typing.Array:
    return xp.take_along_axis(table, perm[:, :, None], 2)[:, :, 0]

  gain = sign * pick(parts['in'])
  if 'out' in parts:
    gain = gain + sign * (1 - 2 * (turns % 2)) * pick(parts['out'])
  if 'phase' in group.kinds:
    left = problem['left'][f'{group.id}:bias'][problem['ia']]
    right = problem['right'][f'{group.id}:bias'][problem['ib']]
    moved = sign * xp.take_along_axis(right, perm, 1)
    gain = gain - (left - moved - turns * group.half_turn) ** 2 / 2
  return gain.sum(1)


def propose(
  xp: ModuleType,
  solve: Callable[[typing.Array], typing.Array],
  group: spec_lib.Group,
  terms: tuple[matching_problem.Term, ...],
  problem: Mapping[str, Any],
  row_weights: typing.Array | None,
) -> tuple[Choice, typing.Array, typing.Array]:
  """Best choice for one group, its gain, and the gain of the present one."""
  parts = _parts(xp, group, terms, problem)
  table, sign, turns = _table(xp, group, problem, parts)
  weighted = (
    table if row_weights is None else table * row_weights[None, :, None]
  )
  perm = solve(weighted)
  at = perm[:, :, None]
  choice = (
    perm,
    xp.take_along_axis(sign, at, 2)[:, :, 0],
    xp.take_along_axis(turns, at, 2)[:, :, 0].astype(np.int32),
  )
  new = xp.take_along_axis(table, at, 2).sum((1, 2))
  return (
    choice,
    new,
    _value(xp, group, problem, parts, _present(group, problem)),
  )


def gain(
  xp: ModuleType,
  group: spec_lib.Group,
  terms: tuple[matching_problem.Term, ...],
  problem: Mapping[str, Any],
) -> typing.Array:
  """[P] gain of the present choice for one group."""
  parts = _parts(xp, group, terms, problem)
  return _value(xp, group, problem, parts, _present(group, problem))


def _present(group: spec_lib.Group, problem: Mapping[str, Any]) -> Choice:
  """The choice that the state holds for one group."""
  return tuple(problem[name][group.id] for name in ('perms', 'signs', 'turns'))
