"""How far networks of unseen tasks fall behind those trained one by one."""

from typing import Any

import numpy as np

from wsjax.evaluation import statistics


def scores(
  accuracy: np.ndarray, trained: np.ndarray, *, num_bootstrap: int, seed: int
) -> dict[str, dict[str, Any]]:
  """Scores of one way to solve the tasks.

  Args:
    accuracy: [S, n] share of right answers of every seed and task. All of one report share the
      resampled tasks, so that differences are paired.
    trained: [n] the same of the networks trained one by one.
    num_bootstrap: resamples.
    seed: of the resamples.

  Returns:
    'accuracy' and 'gap', means over tasks and seeds, and 'worst', the largest gap of a task, each
    with an interval over tasks and, where there are several, seeds. Shares, not points.
  """
  gap = trained[None] - accuracy
  statistic = {
    'accuracy': lambda s, rows: accuracy[s, rows].mean(),
    'gap': lambda s, rows: gap[s, rows].mean(),
    'worst': lambda s, rows: gap[s, rows].max(),
  }
  return {
    name: statistics.over_seeds(function, *accuracy.shape, num_bootstrap, seed)
    for name, function in statistic.items()
  }
