"""Canonical forms: one representative of every orbit.

Positive scales first, by a balance that has one solution; then order, signs and phase shifts, by
alignment to a reference.
"""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import group
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

MODES = ('none', 'permutation', 'permutation+scale')

# Largest change of a log scale at which the balance has converged, and sweeps.
_TOLERANCE = 1e-6
_MAX_SWEEPS = 1000
# Squares of weights beyond this range, or of below its inverse, leave that of float32.
_LARGE = 1e15


def balance(params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """The member of the closed orbit with the smallest norm, phases in [-half_turn, half_turn) / 2.

  Each unit that may be scaled gets the scale at which its incoming weights (bias included) and its
  outgoing ones have equal norm. That is the minimum of the sum of squares, which is convex in the
  log scales, so the result is the same for all members of the orbit, up to rounding. A dead unit,
  which nothing reaches or which reaches nothing, has no such scale: the norm falls as one of its
  sides goes to zero, so all its weights become zero. Squares of weights must be within the range of
  floats.

  Raises:
    ValueError: if the weights do not fit the spec.

  Source: Osborne 1960, doi:10.1145/321043.321048 (the iteration); Neyshabur et al. 2015,
    arXiv:1506.02617 (rescaling of rectifier networks).
  """
  spec.check(params)
  params = {path: jnp.asarray(value) for path, value in params.items()}
  ids = [g.id for g in spec.groups if 'positive_scale' in g.kinds]
  if ids:
    params = group.along_groups(
      lambda value, leaf, dim, alive: jnp.where(group.along(alive, leaf, dim), value, 0),
      _alive(params, spec, ids), params, spec,
    )  # fmt: skip
    params = group.scale(_balancing_scales(params, spec, ids), params, spec)
  turns = {}
  for g in spec.groups:
    if 'phase' in g.kinds:
      bias = params[spec.bias(g.id).path]
      turns[g.id] = -jnp.floor(bias / g.half_turn + 0.5).astype(jnp.int32)
  return group.shift(turns, params, spec)


def balance_all(zoo: typing.StackedParams, spec: spec_lib.Spec) -> dict[str, np.ndarray]:
  """`balance` of n networks, [n, ...] each, as NumPy arrays.

  Networks with weights whose squares leave the range of float32 are balanced in float64.
  """
  spec.check(zoo, stacked=True)
  zoo = {path: np.asarray(value) for path, value in zoo.items()}
  if not any({'positive_scale', 'phase'} & set(g.kinds) for g in spec.groups):
    return zoo
  balanced = jax.tree.map(np.asarray, _balance_all(zoo, spec))
  wide = np.flatnonzero(np.any([_is_wide(value) for value in zoo.values()], axis=0))
  if len(wide):
    with jax.enable_x64(True):
      some = {path: value[wide].astype(np.float64) for path, value in zoo.items()}
      some = jax.tree.map(np.asarray, _balance_all(some, spec))
    for path, value in balanced.items():
      balanced[path] = value.copy()
      balanced[path][wide] = some[path]
  return balanced


def balance_one(params: typing.Params, spec: spec_lib.Spec) -> dict[str, np.ndarray]:
  """`balance_all` of one network."""
  one = {path: np.asarray(value)[None] for path, value in params.items()}
  return {path: value[0] for path, value in balance_all(one, spec).items()}


def canonicalize(
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  mode: str,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Replaces every network of a zoo, weights [n, ...], by the representative of its orbit.

  The starts of the alignment do not depend on the order of a network's units, so all members of an
  orbit get the same representative, up to rounding and exact ties.

  Args:
    zoo: weights of n networks.
    spec: their symmetry.
    mode: 'none' leaves them; 'permutation' only reorders; 'permutation+scale' balances networks and
      reference, then aligns order, signs and phases.
    reference: weights of the network to align to.
    restarts: starts of the alignment.
    seed: of the starts after the second.

  Raises:
    ValueError: for an unknown mode or weights that do not fit the spec.
  """
  if mode not in MODES:
    raise ValueError(f'Unknown mode {mode!r}; allowed: {MODES}.')
  spec.check(zoo, stacked=True)
  spec.check(reference)
  zoo = {path: np.asarray(value) for path, value in zoo.items()}
  if mode == 'none':
    return zoo
  if mode == 'permutation':
    spec = spec.permutations_only()
  else:
    zoo, reference = balance_all(zoo, spec), balance_one(reference, spec)
  options = {'restarts': restarts, 'seed': seed, 'identity': False}
  g = weight_matching.weight_matching(reference, zoo, spec, **options)
  return apply_all(g, zoo, spec)


def apply_all(
  g: group.GroupElement, zoo: typing.StackedParams, spec: spec_lib.Spec
) -> dict[str, np.ndarray]:
  """`group.act_all` as NumPy arrays."""
  if not spec.groups:
    return {path: np.asarray(value) for path, value in zoo.items()}
  return jax.tree.map(np.asarray, group.act_all(g, dict(zoo), spec))


@jax.jit(static_argnums=1)
def _balance_all(zoo: typing.StackedParams, spec: spec_lib.Spec) -> typing.StackedParams:
  return jax.vmap(lambda params: balance(params, spec))(zoo)


def _is_wide(value: np.ndarray) -> np.ndarray:
  """[n] whether a network has weights whose squares leave the range of float32."""
  size = np.abs(value.reshape(len(value), -1))
  return ((size > _LARGE) | ((size > 0) & (size < 1 / _LARGE))).any(axis=1)


def _tables(
  params: typing.Params, spec: spec_lib.Spec, ids: list[str]
) -> list[tuple[jax.Array, list[spec_lib.Axis]]]:
  """(squares summed over all but the scaled axes, those axes) of each parameter that has some."""
  dtype = jnp.result_type(float)
  tables = []
  for leaf in spec.leaves:
    shape, keep = [], []
    for length, axis in zip(leaf.shape, leaf.axes, strict=True):
      if axis.group in ids:
        keep.append(len(shape) + 1)
        shape += [axis.outer, spec.group(axis.group).size, axis.inner]
      else:
        shape.append(length)
    if keep:
      rest = [i for i in range(len(shape)) if i not in keep]
      squares = params[leaf.path].astype(dtype) ** 2
      axes = [axis for axis in leaf.axes if axis.group in ids]
      tables.append((squares.reshape(shape).sum(rest), axes))
  return tables


def _alive(params: typing.Params, spec: spec_lib.Spec, ids: list[str]) -> dict[str, jax.Array]:
  """Group id -> [n] whether a path of weights from an input, to an output, leads through a unit."""
  nonzero = {path: value != 0 for path, value in params.items()}
  tables = [(table > 0, axes) for table, axes in _tables(nonzero, spec, ids)]

  def spread(masks: dict[str, jax.Array], power: int) -> dict[str, jax.Array]:
    """Units that masked ones reach in the direction of a power."""
    found = dict(masks)
    for table, axes in tables:
      for dim, axis in enumerate(axes):
        if axis.power == power:
          paths = table
          for i, other in enumerate(axes):
            if other.power != power:
              shape = [-1 if j == i else 1 for j in range(table.ndim)]
              paths = paths & masks[other.group].reshape(shape)
          reached = paths.any([i for i in range(table.ndim) if i != dim])
          found[axis.group] = found[axis.group] | reached
    return found

  def closure(power: int) -> dict[str, jax.Array]:
    none = {id: jnp.zeros(spec.group(id).size, bool) for id in ids}

    def step(carry: tuple) -> tuple:
      before, _ = carry
      after = spread(before, power)
      return after, jnp.any(jnp.stack([jnp.any(before[id] != after[id]) for id in ids]))

    return jax.lax.while_loop(lambda carry: carry[1], step, (none, True))[0]

  driven, used = closure(1), closure(-1)
  return {id: driven[id] & used[id] for id in ids}


def _balancing_scales(
  params: typing.Params, spec: spec_lib.Spec, ids: list[str]
) -> dict[str, jax.Array]:
  """Group id -> [n] scales that balance every unit."""
  tables = _tables(params, spec, ids)

  def norms(logs: dict[str, jax.Array], id: str) -> tuple[jax.Array, jax.Array]:
    """Squared norms of the incoming and the outgoing weights of each unit of a group."""
    into = out = jnp.zeros_like(logs[id])
    for table, axes in tables:
      for dim, axis in enumerate(axes):
        shape = [1] * table.ndim
        shape[dim] = -1
        table = table * jnp.exp(2 * axis.power * logs[axis.group]).reshape(shape)
      for dim, axis in enumerate(axes):
        if axis.group == id:
          sums = table.sum([i for i in range(table.ndim) if i != dim])
          into, out = (into + sums, out) if axis.power > 0 else (into, out + sums)
    return into, out

  def sweep(carry: tuple) -> tuple:
    logs, _, count = carry
    change = jnp.zeros((), jnp.result_type(float))
    for id in ids:
      into, out = norms(logs, id)
      alive = (into > 0) & (out > 0)
      step = jnp.where(alive, jnp.log(jnp.where(alive, out, 1) / jnp.where(alive, into, 1)) / 4, 0)
      logs = {**logs, id: logs[id] + step}
      change = jnp.maximum(change, jnp.abs(step).max())
    return logs, change, count + 1

  zeros = {id: jnp.zeros(spec.group(id).size) for id in ids}
  logs, _, _ = jax.lax.while_loop(
    lambda carry: (carry[1] > _TOLERANCE) & (carry[2] < _MAX_SWEEPS),
    sweep,
    (zeros, jnp.array(jnp.inf, jnp.result_type(float)), 0),
  )
  return {id: jnp.exp(log) for id, log in logs.items()}
