"""How a network was trained: hyper-parameters of its record, and optimizer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.generators.conditions import scaling
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo.store import columns


@dataclasses.dataclass(frozen=True)
class Recipe:
  """Condition by hyper-parameters.

  Attributes:
    scales: (name, scale) pairs.
    optimizers: each is one more entry, 1 for the one that was used, else 0.
  """

  scales: tuple[tuple[str, scaling.Scale], ...]
  optimizers: tuple[str, ...]

  @property
  def size(self) -> int:
    """C."""
    return len(self.scales) + len(self.optimizers)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, C] float32 of checkpoint records.

    Raises:
      ValueError: if a record lacks a hyper-parameter, or names another optimizer.
    """
    columns = [
      scale(columns.column(records, ('optimizer', 'hparams', name)), name)
      for name, scale in self.scales
    ]
    if self.optimizers:
      names = columns.column(records, ('optimizer', 'name'))
      if unknown := sorted(set(names.tolist()) - set(self.optimizers)):
        raise ValueError(
          f'A network was trained by {unknown[0]!r}; the condition has '
          f'{", ".join(self.optimizers)}.'
        )
      columns += [names == name for name in self.optimizers]
    return np.stack(columns, 1).astype(np.float32)


def make(
  names: tuple[str, ...] = ('learning_rate',),
  low: tuple[float, ...] = (1e-4,),
  high: tuple[float, ...] = (1e-1,),
  optimizers: tuple[str, ...] = (),
) -> Recipe:
  """Chosen hyper-parameters between fixed bounds, which become -1 and 1.

  Bounds belong to the condition and not to the networks at hand, so that a request means the same
  for every zoo.

  Args:
    names: keys of `recipe.FACTORS`; those drawn log-uniformly are scaled so.
    low: of each what becomes -1.
    high: of each what becomes 1.
    optimizers: names that are told apart; () leaves the optimizer out.

  Raises:
    ValueError: for an unknown name, as many bounds as there are no names, bounds that do not
      increase, or nothing to read.
  """
  if unknown := sorted(set(names) - set(recipe_lib.FACTORS)):
    raise ValueError(
      f'Unknown hyper-parameter {unknown[0]!r}; allowed: {", ".join(recipe_lib.FACTORS)}.'
    )
  if not len(names) == len(low) == len(high) or not (names or optimizers):
    raise ValueError(
      'A recipe condition needs a low and a high for each of its names, or '
      f'optimizers; got {names}, {low} and {high}.'
    )
  scales = tuple(
    (name, scaling.Scale(a, b, recipe_lib.FACTORS[name].scale == 'log'))
    for name, a, b in zip(names, low, high, strict=True)
  )
  return Recipe(scales, tuple(optimizers))
