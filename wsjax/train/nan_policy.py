"""NaN policy: steps with a loss that is not finite are skipped, or end training."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing


def check_params(params: typing.PyTree, done: int, saved: int | None) -> None:
  """Raises ValueError unless all parameters are finite, before a checkpoint.

  Args:
    params: parameters after `done` steps.
    done: number of steps.
    saved: step of the last checkpoint, or None.
  """
  if not _all_finite(params):
    raise ValueError(
      f'The parameters are not finite at step {done}, though the loss was; {_advice(saved)}'
    )


@jax.jit
def _all_finite(tree: typing.PyTree) -> jax.Array:
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def _advice(saved: int | None) -> str:
  kept = (
    'there is no checkpoint yet' if saved is None else f'the last checkpoint is of step {saved}'
  )
  return f'{kept}. Try a lower train.learning_rate or a train.clip_norm.'


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over the steps of a block that were not skipped, and the number skipped."""
  good = np.isfinite(values['loss']) & (values.get('skipped', 0.0) == 0)
  result = {
    key: float(x[good].mean()) if good.any() else float('nan')
    for key, x in values.items()
    if key != 'skipped'
  }
  if 'skipped' in values:
    result['skipped'] = float(values['skipped'].sum())
  return result


def count_skipped(
  values: Mapping[str, np.ndarray], before: int, allowed: int, done: int, saved: int | None
) -> int:
  """Number of steps in a row, at the end of a block, that were not finite.

  Args:
    values: metrics [steps] of the block.
    before: number in a row before the block.
    allowed: largest number in a row.
    done: number of steps after the block.
    saved: step of the last checkpoint, or None.

  Raises:
    ValueError: if more than `allowed` steps in a row were not finite.
  """
  bad = values.get('skipped', ~np.isfinite(values['loss']))
  run = before
  for number, is_bad in enumerate(bad):
    run = run + 1 if is_bad else 0
    if run > allowed:
      in_a_row = f', {run} steps in a row' if allowed else ''
      raise ValueError(
        f'The training loss is {values["loss"][number]} between steps '
        f'{done - len(bad)} and {done}{in_a_row}; {_advice(saved)}'
      )
  return run
