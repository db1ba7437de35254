"""Coordinate descent over the groups of many pairs of networks at once.

The units of one group are matched by a linear assignment while the others are held. The table of an
assignment has two parts. Leaves that only this group reorders (first kernels, biases, output
kernels) contribute the same in every sweep: one matrix product per pair of stacks. Leaves that tie
it to other
groups are gathered in their present order and multiplied again, for the pairs whose other groups
have changed since.

What is maximised is the inner product <a, g b> over all leaves, which is
-|a - g b|^2 / 2 up to a constant; half turns change the norm of a bias, so for those biases -(a - g
b)^2 / 2 itself is used.

Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import assignment, tables
from wsjax.symmetry.matching import problem as problem_lib

MAX_SWEEPS = 100
# Gains below this share of the value are rounding; to follow them is to cycle.
_TOLERANCE = 1e-6
_propose_compiled = functools.partial(
  jax.jit(tables.propose, static_argnums=(0, 1, 2, 3)), jnp, assignment.hungarian
)
_gain_compiled = functools.partial(jax.jit(tables.gain, static_argnums=(0, 1, 2)), jnp)


@dataclasses.dataclass
class State:
  """State of the descent for P pairs.

  Attributes:
    perms: group id -> [P, n] int32.
    signs: group id -> [P, n] float32, +-1.
    turns: group id -> [P, n] int32.
    placed: groups that have been matched or given; the others contribute nothing to anybody's
      table.
  """

  perms: dict[str, np.ndarray]
  signs: dict[str, np.ndarray]
  turns: dict[str, np.ndarray]
  placed: set[str]


def identity(spec: spec_lib.Spec, num: int, *, placed: bool) -> State:
  """Every unit where it is, for `num` pairs."""
  one = {group.id: group.size for group in spec.groups}
  return State(
    {id: np.tile(np.arange(n, dtype=np.int32), (num, 1)) for id, n in one.items()},
    {id: np.ones((num, n), np.float32) for id, n in one.items()},
    {id: np.zeros((num, n), np.int32) for id, n in one.items()},
    set(one) if placed else set(),
  )


def where(chosen: np.ndarray, one: State, other: State) -> State:
  """For each pair the choice of `one` where `chosen` [P], else of `other`."""
  return dataclasses.replace(
    other,
    **{
      name: {
        id: np.where(chosen[:, None], x, getattr(other, name)[id])
        for id, x in getattr(one, name).items()
      }
      for name in ('perms', 'signs', 'turns')
    },
  )


def concatenate(states: Sequence[State]) -> State:
  """One state for the pairs of all."""
  return dataclasses.replace(
    states[0],
    **{
      name: {
        id: np.concatenate([getattr(state, name)[id] for state in states])
        for id in getattr(states[0], name)
      }
      for name in ('perms', 'signs', 'turns')
    },
  )


class Descent:
  """Coordinate descent for a list of pairs of one problem."""

  def __init__(self, problem: problem_lib.Problem, ia: np.ndarray, ib: np.ndarray):
    """Computes what all sweeps and starts share.

    Args:
      problem: the two stacks.
      ia: [P] index of the network that stays.
      ib: [P] index of the network that moves.
    """
    self.problem, self.ia, self.ib = problem, ia, ib
    self.fixed = problem.fixed(ia, ib)
    self.host = problem.solver == 'scipy'

  def run(
    self, state: State, order: Sequence[str], row_weights: Mapping[str, np.ndarray] | None = None
  ) -> State:
    """Sweeps until no group of any pair can be matched better.

    Args:
      state: where to start. Groups that are not placed are placed first, in `order`, each by what
        it shares with those already placed.
      order: group ids, the order within a sweep.
      row_weights: group id -> [n] importance of each unit of a while groups are being placed:
        another start for each choice of weights.

    Returns:
      A state that is at least as good, and from which no single group can be improved. `state`
      itself is left alone.
    """
    state = dataclasses.replace(
      state,
      perms={id: x.copy() for id, x in state.perms.items()},
      signs={id: x.copy() for id, x in state.signs.items()},
      turns={id: x.copy() for id, x in state.turns.items()},
      placed=set(state.placed),
    )
    stale = {id: np.ones(len(self.ia), bool) for id in order}
    everyone = np.arange(len(self.ia))
    for id in order:
      if id not in state.placed:
        weights = None if row_weights is None else row_weights[id]
        self._match(state, id, everyone, weights)
        state.placed.add(id)
        # The rest of the world may still be missing.
        known = {other for term in self.problem.terms[id] for other, _ in term.others}
        stale[id][:] = weights is not None or not known <= state.placed - {id}
    for _ in range(MAX_SWEEPS):
      if not any(flags.any() for flags in stale.values()):
        break
      for id in order:
        active = np.flatnonzero(stale[id])
        if not len(active):
          continue
        stale[id][active] = False
        changed = active[self._match(state, id, active)]
        for term in self.problem.terms[id]:
          for other, _ in term.others:
            stale[other][changed] = True
    return state

  def objective(self, state: State) -> np.ndarray:
    """[P] <a, g b> over leaves with units, less half of squared phase errors.

    Args:
      state: every group placed.
    """
    total = np.zeros(len(self.ia), np.float64)
    for group in self.problem.spec.groups:
      owned = tuple(t for t in self.problem.terms[group.id] if t.owned)
      everyone = np.arange(len(self.ia))
      total += self._call('gain', group, owned, state, everyone)
    return total

  def _match(
    self, state: State, id: str, active: np.ndarray, row_weights: np.ndarray | None = None
  ) -> np.ndarray:
    """Matches one group of the active pairs; returns which changed, [m] bool."""
    group = self.problem.spec.group(id)
    terms = tuple(
      term
      for term in self.problem.terms[id]
      if all(other in state.placed for other, _ in term.others)
    )
    choice, new, old = self._call('propose', group, terms, state, active, row_weights)
    stored = [(table[id], table[id][active]) for table in (state.perms, state.signs, state.turns)]
    better = np.ones(len(active), bool)
    if id in state.placed:
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
    state: State,
    active: np.ndarray,
    *rest: np.ndarray | None,
  ) -> Any:
    """Runs `propose` or `gain` for the active pairs, on host or device."""
    num = len(active)
    terms = tuple(term for term in terms if term.others)
    if self.host:
      run = (
        functools.partial(tables.propose, np, assignment.scipy)
        if what == 'propose'
        else functools.partial(tables.gain, np)
      )
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
    for name, ids in (('perms', needed), ('signs', signed), ('turns', signed)):
      problem[name] = {id: getattr(state, name)[id][active] for id in ids}
    result = run(group, terms, problem, *rest)
    return jax.tree.map(lambda x: np.asarray(x)[:num], result)
