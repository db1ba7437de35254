"""Coordinate descent over the groups of many pairs of networks at once.

The units of one group are matched by a linear assignment while the others are held. Leaves that
only this group reorders contribute equally in every sweep: one matrix product per pair of stacks.
Leaves that tie it to other groups are gathered in their present order and multiplied again, for the
pairs whose other groups have changed since.

The inner product <a, g b> over all leaves is maximised, which is -|a - g b|^2 / 2 up to a constant;
half turns change the norm of a bias, so for those biases -(a - g b)^2 / 2 itself is used.

Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize

from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.group import GroupElement
from wsjax.symmetry.matching import problem as problem_lib

MAX_SWEEPS = 100
# Gains below this share of the value are rounding; to follow them is to cycle.
_TOLERANCE = 1e-6
SOLVERS = ('auto', 'scipy', 'optax')


def resolve(solver: str) -> str:
  """The solver that 'auto' stands for here: scipy on CPU, and optax, inside jit, on accelerators.

  Raises:
    ValueError: if `solver` is not one of `SOLVERS`.
  """
  if solver not in SOLVERS:
    raise ValueError(f'Unknown solver {solver!r}; allowed: {SOLVERS}.')
  if solver != 'auto':
    return solver
  return 'scipy' if jax.default_backend() == 'cpu' else 'optax'


def solve_on_host(tables: np.ndarray) -> np.ndarray:
  """The column of each row, [P, n] int32, that makes the sum largest, on the host.

  Tables [P, n, n] in which every row has its largest entry in another column, as they are for near
  copies, need no solver: no assignment can be better.

  Source: Crouse 2016, doi:10.1109/TAES.2016.140952 (the algorithm in SciPy).
  """
  columns = tables.argmax(axis=2).astype(np.int32)
  hard = np.flatnonzero((np.sort(columns, axis=1) != np.arange(tables.shape[1])).any(axis=1))
  for index, cost in zip(hard, -tables[hard].astype(np.float64), strict=True):
    columns[index] = optimize.linear_sum_assignment(cost)[1]
  return columns


@jax.vmap
def solve_on_device(table: jax.Array) -> jax.Array:
  """The result of `solve_on_host`, traceable, for accelerators.

  Source: optax.assignment.hungarian_algorithm.
  """
  rows, columns = optax.assignment.hungarian_algorithm(-table)
  return jnp.zeros(table.shape[0], jnp.int32).at[rows].set(columns)


_propose_compiled = functools.partial(
  jax.jit(problem_lib.propose, static_argnums=(0, 1, 2, 3)), jnp, solve_on_device
)
_gain_compiled = functools.partial(jax.jit(problem_lib.gain, static_argnums=(0, 1, 2)), jnp)


def identity(spec: spec_lib.Spec, num: int) -> GroupElement:
  """Every unit where it is, for `num` pairs; scales, which are signs, and turns of all groups."""
  one = {group.id: group.size for group in spec.groups}
  return GroupElement(
    {id: np.tile(np.arange(n, dtype=np.int32), (num, 1)) for id, n in one.items()},
    {id: np.ones((num, n), np.float32) for id, n in one.items()},
    {id: np.zeros((num, n), np.int32) for id, n in one.items()},
  )


class Descent:
  """Coordinate descent for a list of pairs of one problem."""

  def __init__(self, problem: problem_lib.Problem, ia: np.ndarray, ib: np.ndarray):
    """For P pairs: network ia [P] stays, network ib [P] moves."""
    self.problem, self.ia, self.ib = problem, ia, ib
    self.fixed = problem.fixed(ia, ib)
    self.host = problem.solver == 'scipy'

  def run(
    self,
    state: GroupElement,
    order: Sequence[str],
    row_weights: Mapping[str, np.ndarray] | None = None,
    *,
    placed: bool = False,
  ) -> GroupElement:
    """Sweeps until no group of any pair can be matched better.

    Args:
      state: where to start, every group present; left alone.
      order: group ids, the order within a sweep.
      row_weights: group id -> [n] importance of each unit of a while groups are being placed.
      placed: whether `state` is an alignment already. Otherwise groups are first placed in `order`,
        each by the leaves that it has in common with those before it.
    """
    state = jax.tree.map(np.copy, state)
    stale = {id: np.ones(len(self.ia), bool) for id in order}
    all_pairs = np.arange(len(self.ia))
    known = set(order) if placed else set()
    for id in () if placed else order:
      weights = None if row_weights is None else row_weights[id]
      self._match(state, id, all_pairs, known, weights)
      # Groups that this one shares a leaf with may still be missing.
      others = {other for term in self.problem.terms[id] for other, _ in term.others}
      stale[id][:] = weights is not None or not others <= known
      known.add(id)
    for _ in range(MAX_SWEEPS):
      if not any(flags.any() for flags in stale.values()):
        break
      for id in order:
        active = np.flatnonzero(stale[id])
        if not len(active):
          continue
        stale[id][active] = False
        changed = active[self._match(state, id, active, known)]
        for term in self.problem.terms[id]:
          for other, _ in term.others:
            stale[other][changed] = True
    return state

  def objective(self, state: GroupElement) -> np.ndarray:
    """[P] <a, g b> over leaves with units, less half of squared phase errors."""
    total = np.zeros(len(self.ia), np.float64)
    for group in self.problem.spec.groups:
      owned = tuple(t for t in self.problem.terms[group.id] if t.owned)
      total += self._call('gain', group, owned, state, np.arange(len(self.ia)))
    return total

  def _match(
    self,
    state: GroupElement,
    id: str,
    active: np.ndarray,
    placed: Collection[str],
    row_weights: np.ndarray | None = None,
  ) -> np.ndarray:
    """Matches a group of the active pairs by the placed ones; returns which changed, [m] bool."""
    group = self.problem.spec.group(id)
    terms = tuple(
      term for term in self.problem.terms[id] if all(other in placed for other, _ in term.others)
    )
    choice, new, old = self._call('propose', group, terms, state, active, row_weights)
    stored = [(table[id], table[id][active]) for table in (state.perms, state.scales, state.turns)]
    better = np.ones(len(active), bool)
    if id in placed:
      paths = [term.path for term in terms]
      if len(set(paths)) < len(paths):
        # A leaf has this group on two axes. The table was linear in one of them; what counts is the
        # gain with both moved.
        once = tuple(term for i, term in enumerate(terms) if term.path not in paths[:i])
        old = self._call('gain', group, once, state, active)
        for (table, _), x in zip(stored, choice, strict=True):
          table[active] = x
        new = self._call('gain', group, once, state, active)
      better = new > old + _TOLERANCE * np.abs(old)
    for (table, before), x in zip(stored, choice, strict=True):
      table[active] = np.where(better[:, None], x, before)
    return better

  def _call(
    self,
    what: str,
    group: spec_lib.Group,
    terms: tuple[problem_lib.Term, ...],
    state: GroupElement,
    active: np.ndarray,
    *rest: np.ndarray | None,
  ) -> Any:
    """Runs `propose` or `gain` for the active pairs, on host or device."""
    num = len(active)
    terms = tuple(term for term in terms if term.others)
    if self.host:
      solve = (solve_on_host,) if what == 'propose' else ()
      run = functools.partial(getattr(problem_lib, what), np, *solve)
    else:
      # Sizes are rounded up to a power of two, so that few are compiled.
      active = np.resize(active, 1 << (num - 1).bit_length())
      run = _propose_compiled if what == 'propose' else _gain_compiled
    needed = {other for term in terms for other, _ in term.others} | {group.id}
    whole = self.host and num == len(self.ia)
    keys = {term.key for term in terms} | {f'{group.id}:bias'}
    problem = {
      'fixed': {
        key: table if whole else table[active]
        for key, table in self.fixed.items()
        if key in (f'{group.id}:in', f'{group.id}:out')
      },
      'left': {k: x for k, x in self.problem.left.items() if k in keys},
      'right': {k: x for k, x in self.problem.right.items() if k in keys},
      'ia': self.ia[active],
      'ib': self.ib[active],
    }
    signed = {id for id in needed if {'sign', 'phase'} & set(self.problem.spec.group(id).kinds)}
    problem['perms'] = {id: state.perms[id][active] for id in needed}
    problem['signs'] = {id: state.scales[id][active] for id in signed}
    problem['turns'] = {id: state.turns[id][active] for id in signed}
    return jax.tree.map(lambda x: np.asarray(x)[:num], run(group, terms, problem, *rest))
