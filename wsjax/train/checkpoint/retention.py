"""Which checkpoints are kept: the newest, and the best besides."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class NewestAndBest:
  """A preservation policy of orbax.

  Its own ones read metrics from files of their own, without which, or with a damaged one, a folder
  cannot be opened.

  Attributes:
    newest: how many of the last steps are kept.
    best: how many of those with the lowest metric are kept as well.
    metric: step -> its metric; None if it has none, NaN if that cannot be known.
  """

  newest: int
  best: int
  metric: Callable[[int], float | None]

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any = None) -> list[bool]:
    """For each checkpoint, which has a `step`, whether it is kept."""
    del context
    steps = sorted(checkpoint.step for checkpoint in checkpoints)
    kept = set(steps[-self.newest :])
    if self.best:
      metrics = {step: value for step in steps if (value := self.metric(step)) is not None}
      # What cannot be read today may turn out to be the best.
      unknown = {step for step, value in metrics.items() if math.isnan(value)}
      known = sorted(metrics.keys() - unknown)
      kept |= unknown | set(sorted(known, key=metrics.get)[: self.best])
    return [checkpoint.step in kept for checkpoint in checkpoints]
