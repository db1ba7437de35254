"""Aligns networks: finds the group elements that bring them together.

One call aligns a whole zoo. Signs and half turns are matched jointly with the order of the units;
positive scales are not matched, `canonicalize.balance` removes them before.
"""

from typing import Any

import jax
import numpy as np

from wsjax import typing
from wsjax.symmetry import group as group_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import coordinate_descent
from wsjax.symmetry.matching import problem as problem_lib

# Bytes that the pairs matched together may need.
MEMORY = 256 << 20


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
    solver: one of `coordinate_descent.SOLVERS`.
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
    return _element(coordinate_descent.identity(spec, 0), spec), np.zeros(0)
  # Only the networks that are asked for are rearranged.
  (used_a, at_a), (used_b, at_b) = (np.unique(column, return_inverse=True) for column in pairs.T)
  pairs = np.stack([at_a, at_b], axis=1)
  a, b, factor = _in_range(_select(a, used_a), _select(b, used_b), spec)
  problem = problem_lib.Problem.make(a, b, spec, coordinate_descent.resolve(solver))
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
  descent = coordinate_descent.Descent(problem, pairs[:, 0], pairs[:, 1])
  forward = [group.id for group in spec.groups]
  still = coordinate_descent.identity(spec, len(pairs))
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
