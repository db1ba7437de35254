"""Condition by the architecture: depth, widths, size and activation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from wsjax import config
from wsjax.generators import conditions
from wsjax.models import mlp

# Sine is for implicit representations only.
ACTIVATIONS = (*mlp.ACTIVATIONS, 'sine')


@dataclasses.dataclass(frozen=True)
class Architecture(config.Section):
  """Depth, widths, number of parameters and activation.

  Entries: number of hidden layers; of each, by place, whether it is there and its width; number of
  parameters; activation, one-hot. Widths and parameters are scaled by their logarithm, and 0 where
  there is no layer.

  Attributes:
    max_depth: hidden layers that have a place.
    max_width: width that becomes 1; a width of 1 becomes -1.
    max_params: number of parameters that becomes 1.
  """

  max_depth: config.PositiveInt = 4
  max_width: Annotated[int, config.Range(min=2)] = 1024
  max_params: Annotated[int, config.Range(min=2)] = 10**6

  @property
  def size(self) -> int:
    """Number of entries."""
    return 2 + 2 * self.max_depth + len(ACTIVATIONS)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    return np.stack([self._of_record(record) for record in records])

  def _of_record(self, record: Mapping[str, Any]) -> np.ndarray:
    name = f'Network {record["run_id"]}'
    sizes = [group['size'] for group in record['symmetry']]
    if len(sizes) > self.max_depth:
      raise ValueError(
        f'{name} has {len(sizes)} hidden layers; the condition has places for {self.max_depth}.'
      )
    activation = record['activation']
    if activation not in ACTIVATIONS:
      raise ValueError(f'{name} has activation {activation!r}; allowed: {", ".join(ACTIVATIONS)}.')
    there, width = np.zeros((2, self.max_depth))
    there[: len(sizes)] = 1
    if sizes:
      width[: len(sizes)] = conditions.Scale(1, self.max_width, True)(np.array(sizes), 'width')
    depth = 2 * len(sizes) / self.max_depth - 1
    params = conditions.Scale(1, self.max_params, True)
    num_params = params(np.array([record['n_params']]), 'n_params')
    one_hot = [activation == other for other in ACTIVATIONS]
    return np.concatenate([[depth], there, width, num_params, one_hot]).astype(np.float32)
