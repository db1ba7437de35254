"""Alignment before merging: networks are moved by their symmetry until their units correspond.

Every network keeps its function. Units are matched by their weights or by their activations, to one
network or to the mean of all (cycle-consistent: networks that agree with the mean agree with each
other).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.fusion import activations as activations_lib
from wsjax.symmetry import canonicalize, group
from wsjax.symmetry import spec as spec_lib

HOW = ('none', 'weights', 'activations')
_MAX_ROUNDS = 20


def align(
  params: typing.StackedParams,
  spec: spec_lib.Spec,
  how: str,
  *,
  reference: typing.Params | None = None,
  barycentre: bool = False,
  apply: Callable[..., Any] | None = None,
  data: Any = None,
  balance: bool = False,
  restarts: int = 3,
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Moves N networks, path -> [N, ...], onto each other.

  Args:
    params: the networks.
    spec: their symmetry.
    how: from `HOW`.
    reference: the network that they are moved onto; by default the first of them.
    barycentre: whether networks are then moved onto the mean of all others in turn, until none
      changes.
    apply: (params of one network, inputs) -> outputs; for activations.
    data: inputs [b, ...] at which units are compared.
    balance: whether units that may be scaled are brought to their smallest norm first.
    restarts: starts of matching by weights.
    seed: of these starts, and of the order of the networks.

  Returns:
    The networks, moved. The first one stays where it is, unless it is moved onto a mean.

  Raises:
    ValueError: for an unknown way, or activations without data or of units that are not seen.
  """
  if how not in HOW:
    raise ValueError(f'align is {how!r}; allowed: {", ".join(HOW)}.')
  moved = {path: np.asarray(value) for path, value in params.items()}
  if balance:
    moved = canonicalize.balance_all(moved, spec)
    reference = None if reference is None else canonicalize.balance_one(reference, spec)
  if how == 'none' or not spec.groups:
    return moved
  if how == 'activations':
    if apply is None or data is None:
      raise ValueError('Units are aligned by activations at inputs; give a model and data.')
    return _by_activations(moved, spec, reference, barycentre, apply, data, seed)
  target = {path: x[0] for path, x in moved.items()} if reference is None else reference
  options: dict[str, Any] = {'restarts': restarts, 'seed': seed}
  moved = canonicalize.apply_all(spec.match(target, moved, **options), moved, spec)
  if barycentre:
    return _to_mean_of_weights(moved, spec, reference, options)
  return moved


def _to_mean_of_weights(
  moved: dict[str, np.ndarray],
  spec: spec_lib.Spec,
  reference: typing.Params | None,
  options: dict[str, Any],
) -> dict[str, np.ndarray]:
  """Matches each network in turn with the mean of the others.

  Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 3 (merge many); Crisostomi et al. 2024,
  arXiv:2405.17897 (the universe as the mean).
  """
  count = networks_lib.length(moved)
  moved = {path: np.array(value) for path, value in moved.items()}
  rng = np.random.default_rng(options['seed'])
  for _ in range(_MAX_ROUNDS):
    changed = False
    for i in rng.permutation(count):
      others = {path: np.delete(x, i, 0) for path, x in moved.items()}
      if reference is not None:  # It takes part, and is not moved.
        others = {path: np.concatenate([x, reference[path][None]]) for path, x in others.items()}
      if not networks_lib.length(others):
        return moved
      mean = {path: x.mean(0) for path, x in others.items()}
      one = networks_lib.take(moved, slice(i, i + 1))
      found = spec.match(mean, one, from_identity=True, **options)
      if _is_identity(found):
        continue
      changed = True
      for path, x in canonicalize.apply_all(found, one, spec).items():
        moved[path][i] = x[0]
    if not changed:
      break
  return moved


def _is_identity(g: group.GroupElement) -> bool:
  return (
    all((perm[0] == np.arange(perm.shape[1])).all() for perm in g.perms.values())
    and all((np.asarray(scale) == 1).all() for scale in g.scales.values())
    and all((np.asarray(turn) == 0).all() for turn in g.turns.values())
  )


def _by_activations(
  moved: dict[str, np.ndarray],
  spec: spec_lib.Spec,
  reference: typing.Params | None,
  barycentre: bool,
  apply: Callable[..., Any],
  data: Any,
  seed: int,
) -> dict[str, np.ndarray]:
  """Matches units by the correlation of their activations.

  Source: Li et al. 2016, arXiv:1511.07543.
  """
  everyone = moved
  if reference is not None:
    everyone = {path: np.concatenate([reference[path][None], x]) for path, x in moved.items()}
  one = {path: x[0] for path, x in everyone.items()}
  found = activations_lib.layers(apply, one, data)
  features = activations_lib.stacked_features(apply, everyone, data)
  units = activations_lib.of_units(found, features, everyone, spec)
  count = networks_lib.length(everyone)
  perms, scales = {}, {}
  rng = np.random.default_rng(seed)
  for each in spec.groups:
    codes = _standardized(units[each.id])
    signed = 'sign' in each.kinds
    order = np.tile(np.arange(each.size), (count, 1))
    sign = np.ones((count, each.size), np.float32)

    def place(i: int, target: np.ndarray) -> bool:
      """Matches the units of a network with a target [units, samples]; whether they moved."""
      table = target @ codes[i].T
      value = np.abs(table) if signed else table
      _, columns = optimize.linear_sum_assignment(-value)
      turn = np.where(table[np.arange(len(columns)), columns] < 0, -1, 1) if signed else 1
      changed = bool((order[i] != columns).any())
      order[i], sign[i] = columns, turn
      return changed

    def seen(i: int) -> np.ndarray:
      return codes[i][order[i]] * sign[i][:, None]

    for i in range(1, count):
      place(i, codes[0])
    free = range(0 if reference is None else 1, count)
    for _ in range(_MAX_ROUNDS if barycentre and count > 2 else 0):
      total = sum(seen(i) for i in range(count))
      changes = 0
      for i in rng.permutation(list(free)):
        total = total - seen(i)
        changes += place(i, total)
        total = total + seen(i)
      if not changes:
        break
    perms[each.id] = order.astype(np.int32)
    scales[each.id] = sign
  still = group.identity(spec)
  start = 0 if reference is None else 1
  element = group.GroupElement(
    {id: perm[start:] for id, perm in perms.items()},
    {id: scales[id][start:] for id in still.scales},
    {id: np.zeros((count - start, len(turn)), np.int32) for id, turn in still.turns.items()},
  )
  return canonicalize.apply_all(element, moved, spec)


def _standardized(values: np.ndarray) -> np.ndarray:
  """[n, units, samples] with mean 0 and norm 1 over samples; units that never change are 0."""
  centred = values - values.mean(axis=2, keepdims=True)
  norms = np.linalg.norm(centred, axis=2, keepdims=True)
  return centred / np.where(norms > 1e-8 * np.sqrt(values.shape[2]), norms, np.inf)
