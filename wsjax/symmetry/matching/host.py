"""Coordinate descent on the host, compiled.

One pair of networks after another goes through all its sweeps while its tables are in the cache of
one core; threads share the pairs. The assignment of a group starts from the prices of the last
sweep, of which most are still right.

Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1; Jonker and Volgenant 1987,
doi:10.1007/BF02278710 (the assignment, by shortest augmenting paths).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numba.extending
import numpy as np

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import problem as problem_lib


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
  """Machine code that needs no interpreter lock, kept on disk where a folder can be written."""
  # Weights are finite, and infinity marks what is out of reach: no rule on infinities is relaxed.
  options = {'nogil': True, 'fastmath': {'reassoc', 'contract', 'nsz', 'nnan'}}
  try:
    return numba.njit(cache=True, **options)(function)
  except RuntimeError:  # There is none.
    return numba.njit(**options)(function)


@numba.extending.intrinsic
def _larger(context, a, b):
  """The larger of two numbers, in the form in which loops over it become vector instructions."""

  def generate(context, builder, signature, arguments):
    flags = ('nnan', 'nsz')
    more = builder.fcmp_ordered('>', *arguments, flags=flags)
    return builder.select(more, *arguments, flags=flags)

  return a(a, a), generate


class Group(NamedTuple):
  """Where one group lies in the arrays of a `Layout`; offsets in numbers, -1 for none."""

  size: int
  start: int
  sign: int
  phase: int
  into: int
  out: int
  left_bias: int
  right_bias: int
  first_term: int
  last_term: int
  twice: int


class Term(NamedTuple):
  """One leaf that ties a group to others: fields of `Layout.terms`."""

  out: int
  left: int
  right: int
  rows: int
  rest: int
  owned: int
  once: int
  first_other: int
  last_other: int


class Layout(NamedTuple):
  """A problem as flat arrays.

  Attributes:
    groups: [G, fields of `Group`].
    half_turns: [G].
    terms: [T, fields of `Term`].
    others: [O, 2] group and power of each other axis of each term.
    left: weights of the networks that stay, one term after another.
    right: of those that move.
    fixed: (offset into the tables of a pair, left [A, rest, n], right [B, rest, n]) of each leaf
      that one group alone reorders.
    table: numbers in the tables of one pair that no sweep changes.
    units: of all groups.
  """

  groups: np.ndarray
  half_turns: np.ndarray
  terms: np.ndarray
  others: np.ndarray
  left: np.ndarray
  right: np.ndarray
  fixed: tuple[tuple[int, np.ndarray, np.ndarray], ...]
  table: int
  units: int

  @classmethod
  def make(cls, a: typing.StackedParams, b: typing.StackedParams, spec: spec_lib.Spec) -> 'Layout':
    """Arranges the weights of both stacks."""
    plan, ids = problem_lib.plan(spec), [group.id for group in spec.groups]
    left, right, ends = [], [], [0, 0]

    def put(one: np.ndarray, two: np.ndarray) -> tuple[int, int]:
      at = ends[0], ends[1]
      for side, (pieces, x) in enumerate(((left, one), (right, two))):
        pieces.append(x.ravel())
        ends[side] += x.size
      return at

    groups, terms, others, fixed = [], [], [], []
    table = units = 0
    for group in spec.groups:
      phase, first, square = 'phase' in group.kinds, len(terms), group.size**2
      offsets = {'in': table, 'out': table + square if phase else -1}
      table += square * (1 + phase)
      paths = []
      for term in plan[group.id]:
        if not term.others:
          shape = -1, group.size
          sides = [problem_lib.units(stack, spec, term, True) for stack in (a, b)]
          sides = [x.reshape(len(x), *shape) for x in sides]
          for x in sides:  # Of one type, whether they came so or not.
            x.flags.writeable = False
          fixed.append((offsets[term.part], *sides))
          continue
        one = problem_lib.units(a, spec, term, False)
        two = problem_lib.units(b, spec, term, True)
        begin = len(others)
        others += [(ids.index(id), power) for id, power in term.others]
        terms.append(
          Term(
            int(term.part == 'out'), *put(one, two), two.shape[1], two.shape[2] // group.size,
            int(term.owned), int(term.path not in paths), begin, len(others),
          )
        )  # fmt: skip
        paths.append(term.path)
      biases = -1, -1
      if phase:
        path = spec.bias(group.id).path
        biases = put(*(np.asarray(stack[path], np.float32) for stack in (a, b)))
      groups.append(
        Group(
          group.size, units, int('sign' in group.kinds), int(phase), offsets['in'], offsets['out'],
          *biases, first, len(terms), int(len(set(paths)) < len(paths)),
        )
      )  # fmt: skip
      units += group.size

    def array(rows: Sequence[tuple[int, ...]], width: int) -> np.ndarray:
      return np.array(rows, np.int64).reshape(-1, width)

    def join(pieces: list[np.ndarray]) -> np.ndarray:
      return np.concatenate([np.zeros(0, np.float32), *pieces])

    return cls(
      array(groups, len(Group._fields)), np.array([g.half_turn for g in spec.groups]),
      array(terms, len(Term._fields)), array(others, 2), join(left), join(right), tuple(fixed),
      table, units,
    )  # fmt: skip

  def bytes_per_pair(self) -> int:
    """Memory that one pair needs while it is matched, about: its tables, and five alignments."""
    return 4 * self.table + 5 * 12 * self.units + 8


class Descent:
  """Coordinate descent for a list of pairs, as `weight_matching.Descent` on a device."""

  def __init__(self, layout: Layout, spec: spec_lib.Spec, ia: np.ndarray, ib: np.ndarray):
    """For P pairs: network ia [P] stays, network ib [P] moves."""
    self.layout, self.spec = layout, spec
    self.ia, self.ib = (np.array(index, np.int64) for index in (ia, ib))
    self.fixed = np.zeros((len(ia), layout.table), np.float32)
    for offset, left, right in layout.fixed:
      _add_products(left, right, self.ia, self.ib, self.fixed, offset)

  def run(
    self,
    state: group_lib.GroupElement,
    order: Sequence[str],
    row_weights: Mapping[str, np.ndarray] | None = None,
    *,
    placed: bool = False,
  ) -> tuple[group_lib.GroupElement, np.ndarray]:
    """Sweeps until no group of any pair can be matched better; arguments as on a device."""
    ids = [group.id for group in self.spec.groups]
    joined = [
      np.concatenate([table[id] for id in ids], axis=1)
      for table in (state.perms, state.scales, state.turns)
    ]
    weights = np.zeros(0, np.float32)
    if row_weights is not None:
      weights = np.concatenate([row_weights[id] for id in ids])
    value = np.zeros(len(self.ia))
    layout = self.layout
    _descend(
      self.ia, self.ib, self.fixed, layout.groups, layout.half_turns, layout.terms, layout.others,
      layout.left, layout.right, np.array([ids.index(id) for id in order], np.int64), weights,
      placed, problem_lib.MAX_SWEEPS, problem_lib.TOLERANCE, *joined, value,
    )  # fmt: skip
    if not np.isfinite(value).all():
      raise ValueError(
        f'Matching needs products of weights within the range of float32; '
        f'{np.sum(~np.isfinite(value))} of {len(value)} pairs leave it.'
      )
    ends = np.cumsum([0, *(group.size for group in self.spec.groups)])
    tables = [
      {id: x[:, i:j] for id, (i, j) in zip(ids, itertools.pairwise(ends), strict=True)}
      for x in joined
    ]
    return group_lib.GroupElement(*tables), value


def solve(tables: np.ndarray, prices: np.ndarray | None = None) -> np.ndarray:
  """The column of each row, [P, n] int32, that makes the sum of [P, n, n] tables largest.

  Prices [P, n] of the columns, those of a similar table, save time; any are allowed.
  """
  columns = np.zeros(tables.shape[:2], np.int32)
  prices = np.zeros(columns.shape) if prices is None else np.array(prices, np.float64, order='C')
  _solve_all(np.array(tables, np.float32, order='C'), prices, columns)
  return columns


@_compiled
def _add_products(left, right, ia, ib, tables, offset):
  """Adds left[i]' right[j] of every pair, [n, n], to its tables from `offset`."""
  rest, n = right.shape[1:]
  product = np.empty((n, n), np.float32)
  for p in range(len(ia)):
    table = tables[p, offset : offset + n * n].reshape(n, n)
    a, b = left[ia[p]], right[ib[p]]
    if rest > 1:
      np.dot(a.T, b, product)
      table += product
    else:
      for i in range(n):
        x = a[0, i]
        for j in range(n):
          table[i, j] += x * b[0, j]


@_compiled
def _assign(table, prices, columns, rows, value, path, closed, waiting):
  """Finds the columns [n] that make the sum largest, and prices at which each row prefers its own.

  Any finite prices and columns are a valid start; those of a similar table are a good one. The rest
  is scratch.
  """
  n = len(prices)
  rows[:] = -1
  left = 0
  for i in range(n):
    best = -np.inf
    for j in range(n):
      value[j] = table[i, j] - prices[j]
      best = _larger(best, value[j])
    at = columns[i]
    if value[at] != best:
      at = 0
      while at < n - 1 and value[at] != best:
        at += 1
    if rows[at] < 0:
      rows[at], columns[i] = i, at
    else:
      waiting[left] = i
      left += 1
  # Shortest paths of losses to a free column, for what is left.
  while left:
    left -= 1
    row = first = waiting[left]
    best = -np.inf
    for j in range(n):
      best = _larger(best, table[row, j] - prices[j])
    for j in range(n):
      value[j] = best - (table[row, j] - prices[j])
      path[j], closed[j] = row, 0.0
    for _ in range(n):  # Bounded, so that tables that are not finite end too.
      best = -np.inf
      for j in range(n):
        best = _larger(best, -(value[j] + closed[j]))
      best, at = -best, 0
      while at < n - 1 and value[at] + closed[at] != best:
        at += 1
      row = rows[at]
      if row < 0:
        break
      closed[at] = np.inf
      base = best + table[row, at] - prices[at]
      for j in range(n):
        loss = base - (table[row, j] - prices[j]) + closed[j]
        if loss < value[j]:
          value[j], path[j] = loss, row
    for j in range(n):
      if closed[j] > 0:
        prices[j] += best - value[j]
    for _ in range(n):
      row = path[at]
      rows[at] = row
      columns[row], at = at, columns[row]
      if row == first:
        break


@_compiled
def _solve_all(tables, prices, columns):
  """`_assign` for each table."""
  num, n = columns.shape
  rows, path, waiting = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
  value, closed = np.empty(n), np.empty(n)
  for p in range(num):
    _assign(tables[p], prices[p], columns[p], rows, value, path, closed, waiting)


@_compiled
def _move(term, n, others, groups, right, ib, perms, signs, turns, moved):
  """Fills moved [rows * rest, n]: the leaf of b, its other groups in their places."""
  rows, rest = term[3], term[4]
  width = rest * n
  base = term[2] + ib * rows * width
  for row in range(rows):
    source, factor, remaining, scale = 0, np.float32(1), row, 1
    for k in range(term[8] - 1, term[7] - 1, -1):
      other = groups[others[k, 0]]
      unit = other[1] + remaining
      if k > term[7]:
        unit = other[1] + remaining % other[0]
        remaining //= other[0]
      source += scale * perms[unit]
      scale *= other[0]
      if other[2] or other[3]:
        factor *= signs[unit]
        if others[k, 1] < 0 and turns[unit] % 2:
          factor = -factor
    start = base + source * width
    for j in range(width):
      moved[row * width + j] = factor * right[start + j]


@_compiled
def _copy(into, source, num):
  for k in range(num):
    into[k] = source[k]


@_compiled
def _add(into, source, num):
  for k in range(num):
    into[k] += source[k]


@_compiled
def _choose(into, out, a, b, sign, phase, half_turn):
  """Best gain of one unit at one place over signs and half turns, and where it is reached.

  A sign multiplies incoming and outgoing weights, k half turns outgoing ones by (-1)^k. Of all k of
  one parity the best brings the biases a and b nearest.
  """
  best, best_sign, best_turns = -np.inf, 1, 0
  for s in range(1, -2 if sign else 0, -2):
    for parity in range(1 + phase):
      gain, k = s * (into + (1 - 2 * parity) * out), 0
      if phase:
        gap = a - s * b
        k = parity + 2 * int(np.rint((gap - parity * half_turn) / (2 * half_turn)))
        gain -= (gap - k * half_turn) ** 2 / 2
      if gain > best:
        best, best_sign, best_turns = gain, s, k
  return best, best_sign, best_turns


@_compiled
def _present(into, out, a, b, phase, half_turn, sign, turns):
  """Gain of one unit at one place for a given sign and given half turns."""
  gain = sign * (into + (1 - 2 * (turns % 2)) * out)
  if phase:
    gain -= (a - sign * b - turns * half_turn) ** 2 / 2
  return gain


@_compiled
def _gain(
  which, group, half_turn, groups, terms, others, fixed, left, right, ia, ib, perms, signs, turns,
  moved,
):  # fmt: skip
  """Gain of the present choice of a group from the terms for which column `which` is set."""
  n, start = group[0], group[1]
  into, out = np.zeros(n, np.float64), np.zeros(n, np.float64)
  for i in range(n):
    at = i * n + perms[start + i]
    into[i] = fixed[group[4] + at]
    if group[3]:
      out[i] = fixed[group[5] + at]
  for t in range(group[8], group[9]):
    term = terms[t]
    if not term[which]:
      continue
    _move(term, n, others, groups, right, ib, perms, signs, turns, moved)
    length = term[3] * term[4]
    base = term[1] + ia * n * length
    part = out if term[0] else into
    for i in range(n):
      total = np.float32(0)
      for k in range(length):
        total += left[base + i * length + k] * moved[k * n + perms[start + i]]
      part[i] += total
  total = 0.0
  for i in range(n):
    a = b = np.float32(0)
    unit = start + i
    if group[3]:
      a, b = left[group[6] + ia * n + i], right[group[7] + ib * n + perms[unit]]
    sign, k = signs[unit], turns[unit]
    total += _present(into[i], out[i], a, b, group[3], half_turn, sign, k)
  return total


@_compiled
def _descend(
  ia, ib, fixed, groups, half_turns, terms, others, left, right, order, weights, placed,
  max_sweeps, tolerance, all_perms, all_signs, all_turns, values,
):  # fmt: skip
  """Descends for every pair, in place; arguments as in `Layout` and `weight_matching.Descent`."""
  num_groups = len(groups)
  n = groups[:, 0].max()
  size = 0
  for g in range(num_groups):
    for t in range(groups[g, 8], groups[g, 9]):
      size = max(size, terms[t, 3] * terms[t, 4] * groups[g, 0])
  moved = np.empty(size, np.float32)
  parts, product = np.empty((2, n * n), np.float32), np.empty(n * n, np.float32)
  best = np.empty(n * n, np.float32)
  columns, rows, path = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
  waiting, value, closed = np.empty(n, np.int32), np.empty(n), np.empty(n)
  prices = np.empty(all_perms.shape[1])
  known, stale = np.empty(num_groups, np.bool_), np.empty(num_groups, np.bool_)
  old_choice = np.empty((3, n), np.int64)

  for p in range(len(ia)):
    perms, signs, turns, table = all_perms[p], all_signs[p], all_turns[p], fixed[p]
    known[:], stale[:], prices[:] = placed, True, 0.0
    for sweep in range(0 if placed else -1, max_sweeps):
      more = False
      for g in order:
        more |= stale[g]
      if not more:
        break
      for g in order:
        if not stale[g]:
          continue
        stale[g] = False
        group, half_turn = groups[g], half_turns[g]
        n, start = group[0], group[1]
        sign, phase = group[2], group[3]
        # The table: what is fixed, and all terms of which the other groups are placed.
        into, out = parts[0], parts[1]
        _copy(into, table[group[4] :], n * n)
        if phase:
          _copy(out, table[group[5] :], n * n)
        complete = True
        for t in range(group[8], group[9]):
          term = terms[t]
          ready = True
          for k in range(term[7], term[8]):
            ready &= known[others[k, 0]]
          if not ready:
            complete = False
            continue
          _move(term, n, others, groups, right, ib[p], perms, signs, turns, moved)
          length = term[3] * term[4]
          base = term[1] + ia[p] * n * length
          np.dot(
            left[base : base + n * length].reshape(n, length),
            moved[: length * n].reshape(length, n),
            product[: n * n].reshape(n, n),
          )
          _add(out if term[0] else into, product, n * n)
        left_bias, right_bias = group[6] + ia[p] * n, group[7] + ib[p] * n
        choices = sign or phase
        gains = best if choices else into
        if choices:
          for i in range(n):
            a = left[left_bias + i] if phase else np.float32(0)
            for j in range(n):
              at = i * n + j
              b = right[right_bias + j] if phase else np.float32(0)
              gain = _choose(into[at], out[at] if phase else 0, a, b, sign, phase, half_turn)[0]
              best[at] = gain
        weighted = sweep < 0 and len(weights) > 0
        if weighted:
          for i in range(n):
            for j in range(n):
              product[i * n + j] = gains[i * n + j] * weights[start + i]
        for i in range(n):
          columns[i] = perms[start + i]
        _assign(
          (product if weighted else gains)[: n * n].reshape(n, n), prices[start : start + n],
          columns[:n], rows[:n], value[:n], path[:n], closed[:n], waiting[:n],
        )  # fmt: skip
        new = old = 0.0
        if known[g]:
          if group[10]:
            old = _gain(
              6, group, half_turn, groups, terms, others, table, left, right, ia[p], ib[p], perms,
              signs, turns, moved,
            )  # fmt: skip
          else:
            for i in range(n):
              unit = start + i
              at = i * n + perms[unit]
              a = b = c = np.float32(0)
              if phase:
                a, b, c = left[left_bias + i], right[right_bias + perms[unit]], out[at]
              old += _present(into[at], c, a, b, phase, half_turn, signs[unit], turns[unit])
              new += gains[i * n + columns[i]]
          if not group[10] and new <= old + tolerance * abs(old):
            continue
        for i in range(n):
          unit, j = start + i, columns[i]
          old_choice[0, i], old_choice[1, i], old_choice[2, i] = (
            perms[unit], np.int64(signs[unit]), turns[unit],
          )  # fmt: skip
          perms[unit] = j
          if choices:
            a = b = c = np.float32(0)
            if phase:
              a, b, c = left[left_bias + i], right[right_bias + j], out[i * n + j]
            _, s, k = _choose(into[i * n + j], c, a, b, sign, phase, half_turn)
            signs[unit], turns[unit] = s, k
        if known[g] and group[10]:
          # A leaf has this group on two axes. The table was linear in one of them; what counts is
          # the gain with both moved.
          new = _gain(
            6, group, half_turn, groups, terms, others, table, left, right, ia[p], ib[p], perms,
            signs, turns, moved,
          )  # fmt: skip
          if new <= old + tolerance * abs(old):
            for i in range(n):
              unit = start + i
              perms[unit], signs[unit], turns[unit] = (
                old_choice[0, i], np.float32(old_choice[1, i]), old_choice[2, i],
              )  # fmt: skip
            continue
        if sweep < 0:
          # Groups that this one shares a leaf with may still be missing.
          stale[g] = weighted or not complete
          known[g] = True
        else:
          for t in range(group[8], group[9]):
            for k in range(terms[t, 7], terms[t, 8]):
              stale[others[k, 0]] = True
    for g in range(num_groups):
      values[p] += _gain(
        5, groups[g], half_turns[g], groups, terms, others, table, left, right, ia[p], ib[p], perms,
        signs, turns, moved,
      )  # fmt: skip
