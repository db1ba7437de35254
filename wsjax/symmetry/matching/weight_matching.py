"""Aligns networks: finds the group elements that bring them together.

One call aligns a whole zoo. Signs and half turns are matched jointly with the order of the units;
positive scales are not matched, `canonicalize.balance` removes them before.

Coordinate descent over the groups: the units of one group are matched by a linear assignment while
the others are held. Leaves that only this group reorders contribute equally in every sweep: one
matrix product per pair. Leaves that tie it to other groups are gathered in their present order and
multiplied again, for the pairs whose other groups have changed since. On the host, `host` does it
for one pair after another; on accelerators `Descent` does it for many pairs at once.

The inner product <a, g b> over all leaves is maximised, which is -|a - g b|^2 / 2 up to a constant;
half turns change the norm of a bias, so for those biases -(a - g b)^2 / 2 itself is used.

Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
"""

import concurrent.futures
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import problem as problem_lib

# Bytes that the pairs matched together may need.
MEMORY = 256 << 20
# Pairs that one thread matches before it takes more.
_PAIRS = 32
# Networks that stay, of which the pairs are matched together.
_NEARBY = 8
SOLVERS = ('auto', 'host', 'device')


def resolve(solver: str) -> str:
  """The solver that 'auto' stands for here: that of the host on CPU, else that of the device.

  Raises:
    ValueError: if `solver` is not one of `SOLVERS`.
  """
  if solver not in SOLVERS:
    raise ValueError(f'Unknown solver {solver!r}; allowed: {SOLVERS}.')
  if solver != 'auto':
    return solver
  return 'host' if jax.default_backend() == 'cpu' else 'device'


@jax.vmap
def solve_on_device(table: jax.Array) -> jax.Array:
  """The column of each row, [n], that makes the sum of a table [n, n] largest; traceable.

  Source: optax.assignment.hungarian_algorithm.
  """
  rows, columns = optax.assignment.hungarian_algorithm(-table)
  return jnp.zeros(table.shape[0], jnp.int32).at[rows].set(columns)


_propose_compiled = functools.partial(
  jax.jit(problem_lib.propose, static_argnums=(0, 1, 2)), solve_on_device
)
_gain_compiled = jax.jit(problem_lib.gain, static_argnums=(0, 1))


def identities(spec: spec_lib.Spec, num: int) -> group_lib.GroupElement:
  """Every unit where it is, for `num` pairs; scales, which are signs, and turns of all groups."""
  one = {group.id: group.size for group in spec.groups}
  return group_lib.GroupElement(
    {id: np.tile(np.arange(n, dtype=np.int32), (num, 1)) for id, n in one.items()},
    {id: np.ones((num, n), np.float32) for id, n in one.items()},
    {id: np.zeros((num, n), np.int32) for id, n in one.items()},
  )


class Descent:
  """Coordinate descent for a list of pairs of one problem, on an accelerator."""

  def __init__(self, problem: problem_lib.Problem, ia: np.ndarray, ib: np.ndarray):
    """For P pairs: network ia [P] stays, network ib [P] moves."""
    self.problem, self.ia, self.ib = problem, ia, ib
    self.fixed = problem.fixed(ia, ib)

  def run(
    self,
    state: group_lib.GroupElement,
    order: Sequence[str],
    row_weights: Mapping[str, np.ndarray] | None = None,
    *,
    placed: bool = False,
  ) -> tuple[group_lib.GroupElement, np.ndarray]:
    """Sweeps until no group of any pair can be matched better.

    Args:
      state: where to start, every group present; left alone.
      order: group ids, the order within a sweep.
      row_weights: group id -> [n] importance of each unit of a while groups are being placed.
      placed: whether `state` is an alignment already. Otherwise groups are first placed in `order`,
        each by the leaves that it has in common with those before it.

    Returns:
      The alignment of each pair, and [P] its objective: <a, g b> over leaves with units, less half
      of squared phase errors.
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
    for _ in range(problem_lib.MAX_SWEEPS):
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
    value = np.zeros(len(self.ia))
    for group in self.problem.spec.groups:
      owned = tuple(t for t in self.problem.terms[group.id] if t.owned)
      value += self._call('gain', group, owned, state, all_pairs)
    return state, value

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
      better = new > old + problem_lib.TOLERANCE * np.abs(old)
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
    """Runs `propose` or `gain` for the active pairs."""
    num = len(active)
    terms = tuple(term for term in terms if term.others)
    # Sizes are rounded up to a power of two, so that few are compiled.
    active = np.resize(active, 1 << (num - 1).bit_length())
    run = _propose_compiled if what == 'propose' else _gain_compiled
    needed = {other for term in terms for other, _ in term.others} | {group.id}
    keys = {term.key for term in terms} | {f'{group.id}:bias'}
    problem = {
      'fixed': {
        key: table[active]
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
  largest = max(_largest(stack) for stack in ((a,) if a is b else (a, b)))
  if not len(pairs) or not spec.groups:
    return _element(identities(spec, len(pairs)), spec), np.zeros(len(pairs))
  a, b, pairs = _used(a, b, pairs)
  a, b, factor = _in_range(a, b, spec, largest)
  if resolve(solver) == 'host':
    state, value = _on_host(a, b, pairs, spec, (restarts, seed, from_identity, identity), memory)
  else:
    problem = problem_lib.Problem.make(a, b, spec)
    size = max(1, memory // max(1, problem.bytes_per_pair()))
    found = []
    for start in range(0, len(pairs), size):
      descent = Descent(problem, *pairs[start : start + size].T)
      found.append(_best_start(descent, spec, restarts, seed, from_identity, identity))
    state, value = jax.tree.map(lambda *chunks: np.concatenate(chunks), *found)
  return _element(state, spec), value / factor**2


def _used(
  a: typing.StackedParams, b: typing.StackedParams, pairs: np.ndarray
) -> tuple[typing.StackedParams, typing.StackedParams, np.ndarray]:
  """The stacks without most of the networks that are not asked for, and the pairs among them."""
  stacks, columns = [], []
  for stack, column in zip((a, b), pairs.T, strict=True):
    stack = {path: np.asarray(value) for path, value in stack.items()}
    used, at = np.unique(column, return_inverse=True)
    if 2 * len(used) < len(next(iter(stack.values()))):
      stack, column = {path: value[used] for path, value in stack.items()}, at
    stacks.append(stack)
    columns.append(column)
  return *stacks, np.stack(columns, axis=1)


def _in_range(
  a: typing.StackedParams, b: typing.StackedParams, spec: spec_lib.Spec, largest: float
) -> tuple[typing.StackedParams, typing.StackedParams, float]:
  """Scales both by a power of two, which is returned, into the range of float32 squares."""
  if not largest or 1e-12 < largest < 1e12 or any('phase' in group.kinds for group in spec.groups):
    return a, b, 1.0  # A half period cannot be scaled along.
  factor = 2.0 ** -np.frexp(np.float64(largest))[1]
  a, b = ({path: value * factor for path, value in stack.items()} for stack in (a, b))
  return a, b, factor


def _largest(stack: typing.StackedParams) -> float:
  """The largest absolute weight; raises if one is not a number."""
  largest = 0.0
  for path, value in stack.items():
    value = np.asarray(value)
    ends = value.min(initial=0), value.max(initial=0)  # NaN if one weight is.
    if not np.isfinite(ends).all():
      count = np.sum(~np.isfinite(value.reshape(len(value), -1)).all(1))
      raise ValueError(
        f'Matching needs finite weights; {path} has values that are not, in {count} of '
        f'{len(value)} networks.'
      )
    largest = max(largest, -float(ends[0]), float(ends[1]))
  return largest


def _on_host(
  a: typing.StackedParams,
  b: typing.StackedParams,
  pairs: np.ndarray,
  spec: spec_lib.Spec,
  starts: tuple[int, int, bool, bool],
  memory: int,
) -> tuple[group_lib.GroupElement, np.ndarray]:
  """`_best_start` of all pairs in chunks, by as many threads as there are cores."""
  # Its compiler takes most of a second to import.
  from wsjax.symmetry.matching import host

  layout = host.Layout.make(a, b, spec)
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
  workers = min(cores, -(-len(pairs) // _PAIRS))
  chunks = workers * min(4, max(1, len(pairs) // (2 * _PAIRS * workers)))
  size = min(-(-len(pairs) // chunks), max(1, memory // (workers * layout.bytes_per_pair())))

  # Neighbours in this order share networks, which are in the cache then.
  order = np.lexsort((pairs[:, 0], pairs[:, 1], pairs[:, 0] // _NEARBY))
  pairs = pairs[order]

  def match(start: int) -> tuple[group_lib.GroupElement, np.ndarray]:
    descent = host.Descent(layout, spec, *pairs[start : start + size].T)
    return _best_start(descent, spec, *starts)

  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    found = list(pool.map(match, range(0, len(pairs), size)))
  found = jax.tree.map(lambda *chunks: np.concatenate(chunks), *found)
  back = np.argsort(order)
  return jax.tree.map(lambda x: x[back], found)


def _best_start(
  descent: Any, spec: spec_lib.Spec, restarts: int, seed: int, from_identity: bool, identity: bool
) -> tuple[group_lib.GroupElement, np.ndarray]:
  """The best of several descents for each pair of a chunk."""
  forward = [group.id for group in spec.groups]
  still = identities(spec, len(descent.ia))
  candidates = [descent.run(still, forward, placed=True)] if from_identity else []
  coupled = any(t.others for terms in problem_lib.plan(spec).values() for t in terms)
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
    candidates.append(descent.run(still, (), placed=True))
  best, value = candidates[0]
  for candidate, other in candidates[1:]:
    better = (other > value)[:, None]
    best = jax.tree.map(lambda x, y, better=better: np.where(better, x, y), candidate, best)
    value = np.maximum(value, other)
  return best, value


def _element(state: group_lib.GroupElement, spec: spec_lib.Spec) -> group_lib.GroupElement:
  """A state as group elements."""
  scaled = [g.id for g in spec.groups if {'positive_scale', 'sign'} & set(g.kinds)]
  turned = [g.id for g in spec.groups if 'phase' in g.kinds]
  return group_lib.GroupElement(
    state.perms, {id: state.scales[id] for id in scaled}, {id: state.turns[id] for id in turned}
  )
