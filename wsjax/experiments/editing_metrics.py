"""How close edited pictures are to what they should be, with intervals."""

from typing import Any

import numpy as np

from wsjax.evaluation import statistics


def scores(errors: np.ndarray, *, num_bootstrap: int, seed: int) -> dict[str, dict[str, Any]]:
  """Error of an editor, a baseline or a ceiling.

  Args:
    errors: [S, n] mean squared error of every training seed and network, in squared units of a
      picture in [0, 1]. All of one report share the resampled networks where they have the same n.
    num_bootstrap: resamples.
    seed: of the resamples.

  Returns:
    'mse', and 'psnr', the mean over networks of -10 log10(mse) in dB, each with an interval over
    networks and, where there are several, seeds.

  Raises:
    ValueError: if an error is not above 0, which has no PSNR.
  """
  if not np.all(errors > 0):
    raise ValueError(f'Errors must be above 0; the least is {errors.min()}.')
  errors = errors.astype(np.float64)
  tables = {'mse': errors, 'psnr': -10 * np.log10(errors)}
  return {
    name: statistics.over_seeds(
      lambda s, rows, table=table: table[s, rows].mean(), *table.shape, num_bootstrap, seed
    )
    for name, table in tables.items()
  }
