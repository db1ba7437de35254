"""Chooses one representative of every orbit.

Continuous groups first, by a balance that has one solution; then order, signs and half turns, by
alignment to a reference.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.symmetry import element, rescaling
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.matching import weight_matching

MODES = ('none', 'permutation', 'permutation+scale')

# Largest change of a log scale at which the balance has converged, and sweeps.
_TOLERANCE = 1e-6
_MAX_SWEEPS = 1000


def balance(params: typing.Params, spec: spec_lib.Spec) -> typing.Params:
  """The member of the orbit with the smallest norm, phases near zero.

  Each unit that may be scaled gets the scale at which the weights that feed it (bias included) and
  those that read from it have equal norm. That is the minimum of the sum of squares, which is
  convex in the log scales, so the result is the same for all members of the orbit, up to float32
  rounding.
  A dead unit, with nothing that feeds it or nothing that reads from it, has no such scale and keeps
  the one it has; of its orbit no member is smallest. Phases of sine units are brought into
  [-half_turn / 2, half_turn / 2).

  Args:
    params: weights of one network; vmap for many.
    spec: its symmetry.

  Returns:
    Weights of the same function.

  Raises:
    ValueError: if the weights do not fit the spec.

  Source: Osborne 1960, doi:10.1145/321043.321048 (the iteration); Neyshabur et al. 2015,
    arXiv:1506.02617 (rescaling of rectifier networks).
  """
  spec.check(params)
  params = {path: jnp.asarray(value) for path, value in params.items()}
  params = rescaling.apply(_balancing_scales(params, spec), params, spec)
  turns = {}
  for group in spec.groups:
    if 'phase' in group.kinds:
      bias = params[spec.bias(group.id).path]
      turns[group.id] = -jnp.floor(bias / group.half_turn + 0.5).astype(jnp.int32)
  return rescaling.apply_turns(turns, params, spec)


def balance_all(zoo: typing.StackedParams, spec: spec_lib.Spec) -> dict[str, np.ndarray]:
  """`balance` of N networks, [N, ...] each, as NumPy arrays."""
  spec.check(zoo, stacked=True)
  if not any({'positive_scale', 'phase'} & set(g.kinds) for g in spec.groups):
    return {path: np.asarray(value) for path, value in zoo.items()}
  return jax.tree.map(np.asarray, _balance_all(dict(zoo), spec))


def apply_all(
  g: element.GroupElement, zoo: typing.StackedParams, spec: spec_lib.Spec
) -> dict[str, np.ndarray]:
  """`element.apply` of N elements to N networks, as NumPy arrays."""
  if not spec.groups:
    return {path: np.asarray(value) for path, value in zoo.items()}
  return jax.tree.map(np.asarray, _apply_all(g, dict(zoo), spec))


def canonicalize(
  zoo: typing.StackedParams,
  spec: spec_lib.Spec,
  mode: str,
  *,
  reference: typing.Params,
  restarts: int = 3,
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Replaces every network of a zoo by the representative of its orbit.

  The starts of the alignment do not depend on the order of a network's units, so all members of an
  orbit get the same representative, up to rounding and exact ties.

  Args:
    zoo: weights of N networks, [N, ...] each.
    spec: their symmetry.
    mode: 'none' leaves them; 'permutation' only reorders; 'permutation+scale' balances networks and
      reference, then aligns order, signs and half turns.
    reference: weights of the network to align to.
    restarts: starts of the alignment.
    seed: of the starts after the second.

  Returns:
    Weights of the same N functions, NumPy arrays.

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
  one = {path: np.asarray(value)[None] for path, value in reference.items()}
  if mode == 'permutation':
    spec = spec.permutations_only()
  else:
    zoo, one = balance_all(zoo, spec), balance_all(one, spec)
  num = next(iter(zoo.values())).shape[0]
  g, _ = weight_matching.best_of(
    one,
    zoo,
    np.stack([np.zeros(num, int), np.arange(num)], axis=1),
    spec,
    restarts=restarts,
    seed=seed,
    solver='auto',
    identity=False,
  )
  return apply_all(g, zoo, spec)


@functools.partial(jax.jit, static_argnums=1)
def _balance_all(zoo: typing.StackedParams, spec: spec_lib.Spec) -> typing.StackedParams:
  return jax.vmap(lambda params: balance(params, spec))(zoo)


@functools.partial(jax.jit, static_argnums=2)
def _apply_all(
  g: element.GroupElement, zoo: typing.StackedParams, spec: spec_lib.Spec
) -> typing.StackedParams:
  return jax.vmap(lambda g, params: element.apply(g, params, spec))(g, zoo)


def _balancing_scales(params: typing.Params, spec: spec_lib.Spec) -> dict[str, jax.Array]:
  """Group id -> [n] scales that balance every unit."""
  ids = [g.id for g in spec.groups if 'positive_scale' in g.kinds]
  if not ids:
    return {}
  # (squares summed over all but the scaled axes, those axes) of each leaf.
  tables = []
  for leaf in spec.leaves:
    axes = [axis for axis in leaf.axes if axis.group in ids]
    if axes:
      tables.append((_squares(params[leaf.path], leaf, spec, ids), axes))

  def norms(logs: dict[str, jax.Array], id: str) -> tuple[jax.Array, jax.Array]:
    """Squared norms of what feeds and what reads from each unit of a group."""
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
    change = jnp.float32(0)
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
    (zeros, jnp.float32(jnp.inf), 0),
  )
  return {id: jnp.exp(log) for id, log in logs.items()}


def _squares(
  value: jax.Array, leaf: spec_lib.Leaf, spec: spec_lib.Spec, ids: list[str]
) -> jax.Array:
  """Squares of a leaf, summed over all that `ids` do not scale apart."""
  shape, keep = [], []
  for length, axis in zip(leaf.shape, leaf.axes, strict=True):
    if axis.group in ids:
      keep.append(len(shape) + 1)
      shape += [axis.outer, spec.group(axis.group).size, axis.inner]
    else:
      shape.append(length)
  rest = [i for i in range(len(shape)) if i not in keep]
  return (value.astype(jnp.float32) ** 2).reshape(shape).sum(rest)
