"""Linear assignment for many square tables at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize

from wsjax import typing

SOLVERS = ('auto', 'scipy', 'optax')


def resolve(solver: str) -> str:
  """The solver that 'auto' stands for on this machine.

  Args:
    solver: one of `SOLVERS`. 'auto' is scipy on CPU, where it is the fastest per table, and optax
      inside jit on accelerators.

  Returns:
    'scipy' or 'optax'.

  Raises:
    ValueError: for another name.
  """
  if solver not in SOLVERS:
    raise ValueError(f'Unknown solver {solver!r}; allowed: {SOLVERS}.')
  if solver != 'auto':
    return solver
  return 'scipy' if jax.default_backend() == 'cpu' else 'optax'


def scipy(tables: np.ndarray) -> np.ndarray:
  """Assigns a column to every row so that the sum is largest, on the host.

  Tables in which every row has its largest entry in another column, as they are for near copies,
  need no solver: no assignment can be better.

  Args:
    tables: [P, n, n] finite values.

  Returns:
    [P, n] int32 column of each row.

  Source: Crouse 2016, doi:10.1109/TAES.2016.140952 (the algorithm in SciPy).
  """
  columns = tables.argmax(axis=2).astype(np.int32)
  hard = np.flatnonzero((np.sort(columns, axis=1) != np.arange(tables.shape[1])).any(axis=1))
  for index, cost in zip(hard, -tables[hard].astype(np.float64), strict=True):
    columns[index] = optimize.linear_sum_assignment(cost)[1]
  return columns


def hungarian(tables: typing.Array) -> jax.Array:
  """The same as `scipy`, traceable, for accelerators.

  Args:
    tables: [P, n, n] values.

  Returns:
    [P, n] int32 column of each row.

  Source: optax.assignment.hungarian_algorithm.
  """

  def one(table: jax.Array) -> jax.Array:
    rows, columns = optax.assignment.hungarian_algorithm(-table)
    return jnp.zeros(table.shape[0], jnp.int32).at[rows].set(columns)

  return jax.vmap(one)(jnp.asarray(tables))
