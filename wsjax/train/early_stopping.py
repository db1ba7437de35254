"""When training ends before its last step: it overfits, or it collapses."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import typing
from wsjax.train import data as data_lib

# Rows of the data, and as many samples, that the spread is measured on.
_NUM = 64
# Share of the steps before which samples may be anything.
_WARM_UP = 0.1


def make_dispersion(
  model: Any, data: typing.PyTree, key: jax.Array, mesh: Mesh, *, steps: int
) -> Callable[[typing.PyTree, int], float]:
  """(Parameters, steps done) -> spread of samples over that of the data.

  Args:
    model: has `dispersion(params, batch, key)` and `min_dispersion`.
    data: arrays with leading axis [N]; some rows are compared with.
    key: of the samples, always the same.
    mesh: every device of it computes the whole.
    steps: of the whole run.

  Returns:
    A function that raises ValueError if samples have collapsed, a tenth of the way on.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  size = len(jax.tree.leaves(data)[0])
  rows = np.linspace(0, size - 1, min(_NUM, size)).astype(int)
  placed = data_lib.place(jax.tree.map(lambda x: x[rows], data), replicated)
  measure = jax.jit(functools.partial(model.dispersion, key=key), out_shardings=replicated)

  def checked(params: typing.PyTree, done: int) -> float:
    value = float(measure(params, placed))
    if done >= _WARM_UP * steps and not value >= model.min_dispersion:
      raise ValueError(
        f'Samples have collapsed at step {done}: their spread is {value:.3g} '
        'of that of the training networks; strategy.min_dispersion is '
        f'{model.min_dispersion}. Try a larger strategy.distribution, or a lower '
        'train.learning_rate.'
      )
    return value

  return checked


def blocks_since_best(losses: Sequence[float | None]) -> int:
  """Blocks after that of the lowest validation loss; 0 if it is the last."""
  values = np.array([np.inf if x is None else x for x in losses], float)
  return len(values) - 1 - int(np.argmin(values)) if len(values) else 0


def is_over(history: Mapping[str, Sequence[float | None]], patience: int) -> bool:
  """Whether as many blocks as `patience` have not lowered `val_loss`."""
  since = blocks_since_best(history.get('val_loss', ()))
  return 0 < patience <= since
