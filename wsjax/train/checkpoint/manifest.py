"""Description of a checkpoint, a JSON value that is saved with the state, and its verification."""

import hashlib
import json
import math
from typing import Any

import jax

from wsjax import distributed, typing
from wsjax.train.checkpoint import checksums as checksums_lib
from wsjax.zoo.store import digest

Description = dict[str, Any]


class Damaged(Exception):
  """A checkpoint that is not what was saved."""


def make(
  step: int, tree: typing.PyTree, history: dict[str, list[float]], metric: float | None
) -> Description:
  """Describes a tree of arrays: leaves, checksums, history, metric, and a digest of all that.

  The history is copied; a metric that is not finite becomes None.
  """
  if metric is not None:
    metric = float(metric) if math.isfinite(metric) else None
  described = {'step': step, 'leaves': leaves(tree), 'history': history, 'metric': metric}
  described |= {'checksums': checksums_lib.checksums(tree)}
  described = json.loads(json.dumps(described))
  return {**described, 'digest': _digest(described)}


def check(described: Description, step: int) -> None:
  """Raises `Damaged` unless this is the description of a step, unchanged."""
  is_old = 'digests' in described  # Of a version before checksums.
  if not {'leaves', 'history'} <= set(described) or (
    not is_old and described.get('digest') != _digest(described)
  ):
    raise Damaged('its description was changed')
  if not is_old and described['step'] != step:
    raise Damaged(f'it was saved as step {described["step"]}')


def check_model(described: Description, like: typing.PyTree) -> str | None:
  """What in a checkpoint is not as in a tree, or None if it fits."""
  there, here = described['leaves'], leaves(like)
  for path in sorted({*there, *here}):
    if there.get(path) != here.get(path):
      return f'{path} is {there.get(path, "not")} there and {here.get(path, "not")} here'
  return None


def check_values(described: Description, tree: typing.PyTree) -> None:
  """Raises `Damaged` unless these are the values that were saved."""
  if 'checksums' in described:
    changed = checksums_lib.damaged(described['checksums'], tree)
  else:
    found = {
      jax.tree_util.keystr(path): digest.of_tensors({'leaf': distributed.everywhere(leaf)})
      for path, leaf in jax.tree.leaves_with_path(tree)
    }
    changed = sorted(path for path in found if found[path] != described['digests'].get(path))
  if changed:
    more = f' and {len(changed) - 3} more' if changed[3:] else ''
    raise Damaged(f'the values of {", ".join(changed[:3])}{more} were changed')


def leaves(tree: typing.PyTree) -> dict[str, str]:
  """Type and shape of every leaf, by its path."""
  return {
    jax.tree_util.keystr(path): f'{leaf.dtype}{list(leaf.shape)}'
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _digest(described: Description) -> str:
  rest = {key: value for key, value in described.items() if key != 'digest'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
