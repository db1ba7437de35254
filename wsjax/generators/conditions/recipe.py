"""Condition by the training: hyper-parameters of the record, and the optimizer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from wsjax import config
from wsjax.generators import conditions
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo.store import columns as columns_lib


@dataclasses.dataclass(frozen=True)
class Recipe(config.Section):
  """Chosen hyper-parameters between fixed bounds, which become -1 and 1.

  Bounds belong to the condition and not to the networks at hand, so that a request means the same
  for every zoo.

  Attributes:
    names: hyper-parameters; those drawn log-uniformly are scaled by their logarithm.
    low: of each the value that becomes -1.
    high: of each the value that becomes 1.
    optimizers: names, each of which adds an entry: 1 for the optimizer that was used, else 0.
  """

  names: tuple[Annotated[str, config.OneOf(recipe_lib.FACTORS)], ...] = ('learning_rate',)
  low: tuple[float, ...] = (1e-4,)
  high: tuple[float, ...] = (1e-1,)
  optimizers: tuple[str, ...] = ()

  def __post_init__(self):
    super().__post_init__()
    if not len(self.names) == len(self.low) == len(self.high) or not self.size:
      raise ValueError(
        'A recipe condition needs a low and a high for each of its names, or optimizers; got names '
        f'{self.names}, low {self.low} and high {self.high}.'
      )
    _ = self._scales  # Checks the bounds.

  @property
  def size(self) -> int:
    """Number of entries."""
    return len(self.names) + len(self.optimizers)

  @property
  def _scales(self) -> dict[str, conditions.Scale]:
    return {
      name: conditions.Scale(low, high, recipe_lib.FACTORS[name].scale == 'log')
      for name, low, high in zip(self.names, self.low, self.high, strict=True)
    }

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    columns = [
      scale(columns_lib.column(records, ('optimizer', 'hparams', name)), name)
      for name, scale in self._scales.items()
    ]
    if self.optimizers:
      names = columns_lib.column(records, ('optimizer', 'name'))
      if unknown := sorted(set(names.tolist()) - set(self.optimizers)):
        raise ValueError(
          f'A network was trained by {unknown[0]!r}; optimizers are {", ".join(self.optimizers)}.'
        )
      columns += [names == name for name in self.optimizers]
    return np.stack(columns, 1).astype(np.float32)
