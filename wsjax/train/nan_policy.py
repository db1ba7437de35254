"""What training does about numbers that are not finite."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing


def check(params: typing.PyTree, done: int) -> None:
  """Raises ValueError unless all parameters are finite, before a save."""
  if not _all_finite(params):
    raise ValueError(
      f'The parameters are not finite at step {done}, though the loss was; the '
      'last checkpoint is from before it. Try a lower train.learning_rate or a '
      'train.clip_norm.'
    )


@jax.jit
def _all_finite(tree: typing.PyTree) -> jax.Array:
  leaves = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
  return jnp.all(jnp.array(leaves))


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over the steps of a block that were not skipped, and their number."""
  good = np.isfinite(values['loss']) & (values.get('skipped', 0.0) == 0)
  result = {
    key: float(x[good].mean()) if good.any() else float('nan')
    for key, x in values.items()
    if key != 'skipped'
  }
  if 'skipped' in values:
    result['skipped'] = float(values['skipped'].sum())
  return result


def skipped(values: Mapping[str, np.ndarray], before: int, allowed: int, done: int) -> int:
  """How many steps in a row were not finite up to the last of a block.

  Raises:
    ValueError: if there were more than allowed.
  """
  bad = values.get('skipped', ~np.isfinite(values['loss']))
  run = before
  for number, is_bad in enumerate(bad):
    run = run + 1 if is_bad else 0
    if run > allowed:
      in_a_row = f', {run} steps in a row' if allowed else ''
      raise ValueError(
        f'The training loss is {values["loss"][number]} between steps '
        f'{done - len(bad)} and {done}{in_a_row}; the last checkpoint is from '
        'before it. Try a lower train.learning_rate or a train.clip_norm.'
      )
  return run
