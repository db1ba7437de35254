"""What ends training early: overfitting, collapse, and steps or parameters that are not finite."""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import typing
from wsjax.train import objective as objective_lib
from wsjax.train import sharding

# Training examples, and as many samples, whose spreads are compared.
_NUM_COMPARED = 64
# Share of the steps before which the diversity of samples is not checked.
_WARM_UP = 0.1


def make_val_loss(
  objective: objective_lib.Objective, val: typing.PyTree, key: jax.Array, mesh: Mesh
) -> Callable[[typing.PyTree, int], float]:
  """Function from (parameters, steps done) to the loss of the validation split, with fixed noise.

  The loss is averaged over `val_draws` noise draws by the key; `val` has a leading axis [V], and
  every device computes the whole loss.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  keys = jax.random.split(key, objective.val_draws)

  # The data are an argument: XLA would fold constants for minutes.
  @functools.partial(jax.jit, out_shardings=replicated)
  def mean_loss(params: typing.PyTree, data: typing.PyTree) -> jax.Array:
    return jnp.mean(jax.lax.map(lambda k: objective.loss(params, data, k, train=False)[0], keys))

  placed = sharding.place(val, replicated)
  return lambda params, done: float(mean_loss(params, placed))


def make_diversity(
  objective: objective_lib.Objective, data: typing.PyTree, key: jax.Array, mesh: Mesh, *, steps: int
) -> Callable[[typing.PyTree, int], float]:
  """Function from (parameters, steps done) to the spread of samples over that of the data.

  The function raises ValueError if samples have collapsed after a tenth of the steps of the run.

  Args:
    objective: objective with `diversity` and `min_diversity`.
    data: arrays with leading axis [N]; some rows are compared.
    key: randomness of the samples, equal for every call.
    mesh: every device computes the whole.
    steps: length of the whole run.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  size = len(jax.tree.leaves(data)[0])
  rows = np.linspace(0, size - 1, min(_NUM_COMPARED, size)).astype(int)
  placed = sharding.place(jax.tree.map(lambda x: x[rows], data), replicated)
  measure = jax.jit(functools.partial(objective.diversity, key=key), out_shardings=replicated)

  def checked(params: typing.PyTree, done: int) -> float:
    value = float(measure(params, placed))
    if done >= _WARM_UP * steps and not value >= objective.min_diversity:
      raise ValueError(
        f'Samples have collapsed at step {done}: their spread is {value:.3g} of that of the '
        f'training networks; strategy.min_diversity is {objective.min_diversity}. Try a larger '
        'strategy.distribution or a lower train.learning_rate.'
      )
    return value

  return checked


def blocks_since_best(losses: Sequence[float | None]) -> int:
  """Number of blocks after the one with the lowest validation loss."""
  values = np.array([np.inf if x is None else x for x in losses], float)
  return len(values) - 1 - int(np.argmin(values)) if len(values) else 0


def is_over(history: Mapping[str, Sequence[float | None]], patience: int) -> bool:
  """Whether `val_loss` has not improved for `patience` blocks."""
  return 0 < patience <= blocks_since_best(history.get('val_loss', ()))


def check_params(params: typing.PyTree, done: int, saved: int | None) -> None:
  """Raises ValueError unless all parameters after `done` steps are finite."""
  if not _all_finite(params):
    raise ValueError(
      f'The parameters are not finite at step {done}, though the loss was; {_advice(saved)}'
    )


@jax.jit
def _all_finite(tree: typing.PyTree) -> jax.Array:
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def _advice(saved: int | None) -> str:
  kept = 'there is no checkpoint yet'
  if saved is not None:
    kept = f'the last checkpoint is of step {saved}'
  return f'{kept}. Try a lower train.learning_rate or a train.clip_norm.'


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over the steps of a block that were not skipped, and the number skipped."""
  good = np.isfinite(values['loss']) & (values.get('skipped', 0.0) == 0)
  mean = {key: float(x[good].mean()) if good.any() else float('nan') for key, x in values.items()}
  if 'skipped' in values:
    mean['skipped'] = float(values['skipped'].sum())
  return mean


def count_skipped(
  values: Mapping[str, np.ndarray], before: int, allowed: int, done: int, saved: int | None
) -> int:
  """Number of steps in a row, at the end of a block, that were not finite.

  Args:
    values: metrics [steps] of the block.
    before: number in a row before the block.
    allowed: largest number in a row; more raise ValueError.
    done: number of steps after the block.
    saved: step of the last checkpoint, or None.
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
