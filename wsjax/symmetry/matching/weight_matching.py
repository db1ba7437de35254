"""Aligns networks: finds the group elements that bring them together.

One call aligns a whole zoo. Signs and half turns are matched jointly with the order of the units;
positive scales are not matched, `canonicalize.balance` removes them before.

Coordinate descent over the groups, for many pairs of networks at once: the units of one group are
matched by a linear assignment while the others are held. Leaves that only this group reorders
contribute equally in every sweep: one matrix product per pair of stacks. Leaves that tie it to
other groups are gathered in their present order and multiplied again, for the pairs whose other
groups have changed since.

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

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import problem as problem_lib

# Bytes that the pairs matched together may need.
MEMORY = 256 << 20
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


def identities(spec: spec_lib.Spec, num: int) -> group_lib.GroupElement:
  """Every unit where it is, for `num` pairs; scales, which are signs, and turns of all groups."""
  one = {group.id: group.size for group in spec.groups}
  return group_lib.GroupElement(
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
    state: group_lib.GroupElement,
    order: Sequence[str],
    row_weights: Mapping[str, np.ndarray] | None = None,
    *,
    placed: bool = False,
  ) -> group_lib.GroupElement:
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

  def objective(self, state: group_lib.GroupElement) -> np.ndarray:
    """[P] <a, g b> over leaves with units, less half of squared phase errors."""
    total = np.zeros(len(self.ia), np.float64)
    for group in self.problem.spec.groups:
      owned = tuple(t for t in self.problem.terms[group.id] if t.owned)
      total += self._call('gain', group, owned, state, np.arange(len(self.ia)))
    return total

  def _match(
    self,
    state: group_lib.GroupElement,
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
    state: group_lib.GroupElement,
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


def weight_matching(
  reference: typing.Params, zoo: typing.StackedParams, spec: spec_lib.Spec, **options: Any
) -> group_lib.GroupElement:
  """Moves every network of a zoo, weights [N, ...], onto a reference; options as in `match_pairs`.

  Returns:
    The element for each network, leading axis N, as NumPy arrays, for `spec.act(result, zoo)`. The
    best for one hidden layer; otherwise no single group can be matched better. Never worse than
    leaving the network as it is.

  Raises:
    ValueError: if weights do not fit the spec or are not finite, restarts < 1, or the solver is
      unknown.

  Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
  """
  spec.check(reference)
  spec.check(zoo, stacked=True)
  one = {path: np.asarray(value)[None] for path, value in reference.items()}
  num = next(iter(zoo.values())).shape[0]
  pairs = np.stack([np.zeros(num, int), np.arange(num)], axis=1)
  return match_pairs(one, zoo, pairs, spec, **options)[0]


def match_pairs(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: typing.Array,
  spec: spec_lib.Spec,
  *,
  restarts: int = 1,
  seed: int = 0,
  solver: str = 'auto',
  from_identity: bool = False,
  identity: bool = True,
  memory: int = MEMORY,
) -> tuple[group_lib.GroupElement, np.ndarray]:
  """Moves network b[j] onto network a[i] for every pair (i, j), and computes how well that fits.

  The first start places groups in forward order, each by the leaves that it has in common with
  those before it; the second in backward order; further ones in random order, and with some units
  of a counting more than others. None depends on the order of b's units, so the result is the same
  for every member of b's orbit.

  Args:
    a: weights of the networks that stay.
    b: weights of the networks that move.
    pairs: [P, 2] int, (index into a, index into b).
    spec: their symmetry.
    restarts: starts of the descent; the best result is kept.
    seed: of the starts after the second.
    solver: one of `SOLVERS`.
    from_identity: whether the first start is the identity, for networks that are aligned already.
    identity: whether to fall back to the identity where it is better.
    memory: bytes that the pairs matched together may need. The result does not depend on it.

  Returns:
    The element for each pair, leading axis P, see `weight_matching`; and [P] its objective:
    <a, g b> over all leaves with hidden units, with -(a - g b)^2 / 2 for biases that take half
    turns.

  Raises:
    ValueError: as `weight_matching`, and if `pairs` is not [P, 2].
  """
  spec.check(a, stacked=True)
  spec.check(b, stacked=True)
  pairs = np.asarray(pairs, np.int64).reshape(-1, *np.shape(pairs)[1:])
  if pairs.ndim != 2 or pairs.shape[1] != 2:
    raise ValueError(f'pairs must be [P, 2]; got shape {pairs.shape}.')
  if restarts < 1:
    raise ValueError(f'restarts must be at least 1; got {restarts}.')
  _check_finite(a)
  _check_finite(b)
  if not len(pairs):
    return _element(identities(spec, 0), spec), np.zeros(0)
  # Only the networks that are asked for are rearranged.
  (used_a, at_a), (used_b, at_b) = (np.unique(column, return_inverse=True) for column in pairs.T)
  pairs = np.stack([at_a, at_b], axis=1)
  a, b, factor = _in_range(_select(a, used_a), _select(b, used_b), spec)
  problem = problem_lib.Problem.make(a, b, spec, resolve(solver))
  size = max(1, memory // max(1, problem.bytes_per_pair()))
  found = [
    _best_start(problem, pairs[start : start + size], restarts, seed, from_identity, identity)
    for start in range(0, len(pairs), size)
  ]
  state, value = jax.tree.map(lambda *chunks: np.concatenate(chunks), *found)
  return _element(state, spec), value / factor**2


def _select(stack: typing.StackedParams, indices: np.ndarray) -> dict[str, np.ndarray]:
  """Some networks of a stack; the stack itself if it is all of them."""
  arrays = {path: np.asarray(value) for path, value in stack.items()}
  if all(len(value) == len(indices) for value in arrays.values()):
    return arrays
  return {path: value[indices] for path, value in arrays.items()}


def _in_range(
  a: typing.StackedParams, b: typing.StackedParams, spec: spec_lib.Spec
) -> tuple[typing.StackedParams, typing.StackedParams, float]:
  """Scales both by a power of two, which is returned, into the range of float32 squares."""
  largest = max(np.abs(value).max(initial=0) for stack in (a, b) for value in stack.values())
  if not largest or 1e-12 < largest < 1e12 or any('phase' in group.kinds for group in spec.groups):
    return a, b, 1.0  # A half period cannot be scaled along.
  factor = 2.0 ** -np.frexp(np.float64(largest))[1]
  a, b = ({path: value * factor for path, value in stack.items()} for stack in (a, b))
  return a, b, factor


def _check_finite(stack: typing.StackedParams) -> None:
  """Raises if a weight is not a number."""
  for path, value in stack.items():
    if not np.isfinite(value).all():
      count = np.sum(~np.isfinite(np.reshape(value, (len(value), -1))).all(1))
      raise ValueError(
        f'Matching needs finite weights; {path} has values that are not, in {count} of '
        f'{len(value)} networks.'
      )


def _best_start(
  problem: problem_lib.Problem,
  pairs: np.ndarray,
  restarts: int,
  seed: int,
  from_identity: bool,
  identity: bool,
) -> tuple[group_lib.GroupElement, np.ndarray]:
  """The best of several descents for each pair of a chunk."""
  spec = problem.spec
  descent = Descent(problem, pairs[:, 0], pairs[:, 1])
  forward = [group.id for group in spec.groups]
  still = identities(spec, len(pairs))
  candidates = [descent.run(still, forward, placed=True)] if from_identity else []
  coupled = any(t.others for terms in problem.terms.values() for t in terms)
  # Without coupling every start ends in the same, best, place.
  for start in range((restarts if coupled else 1) - len(candidates)):
    # Streams by number of the start alone: a chunk changes nothing.
    rng = np.random.default_rng([seed, start])
    order, weights = forward, None
    if start == 1:
      order = forward[::-1]
    elif start > 1:
      order = list(rng.permutation(forward))
      weights = {
        group.id: np.exp(rng.uniform(-1, 1, group.size)).astype(np.float32) for group in spec.groups
      }
    candidates.append(descent.run(still, order, weights))
  if identity:
    candidates.append(still)
  best, value = candidates[0], descent.objective(candidates[0])
  for candidate in candidates[1:]:
    other = descent.objective(candidate)
    better = (other > value)[:, None]
    best = jax.tree.map(lambda x, y, better=better: np.where(better, x, y), candidate, best)
    value = np.maximum(value, other)
  return best, value


def _element(state: group_lib.GroupElement, spec: spec_lib.Spec) -> group_lib.GroupElement:
  """A state as group elements."""
  still = group_lib.identity(spec)
  return group_lib.GroupElement(
    state.perms,
    {id: state.scales[id] for id in still.scales},
    {id: state.turns[id] for id in still.turns},
  )
