"""What a network is: depth, widths, size and activation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.generators.conditions import scaling
from wsjax.models import parts

# Sine is of implicit representations alone.
ACTIVATIONS = (*parts.ACTIVATIONS, 'sine')


@dataclasses.dataclass(frozen=True)
class Architecture:
  """Condition by the architecture.

  Entries: number of hidden layers; of each, by place, whether it is there and its width; number of
  parameters; activation, one-hot. Widths and parameters are scaled by their logarithm, and 0 where
  there is no layer.

  Attributes:
    max_depth: hidden layers that have a place.
    widths: scale of their widths.
    params: scale of the number of parameters.
  """

  max_depth: int
  widths: scaling.Scale
  params: scaling.Scale

  @property
  def size(self) -> int:
    """C."""
    return 2 + 2 * self.max_depth + len(ACTIVATIONS)

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, C] float32 of checkpoint records.

    Raises:
      ValueError: for a network that is too deep, or of an unknown activation.
    """
    return np.stack([self._of_record(record) for record in records])

  def _of_record(self, record: Mapping[str, Any]) -> np.ndarray:
    sizes = [group['size'] for group in record['symmetry']]
    if len(sizes) > self.max_depth:
      raise ValueError(
        f'Network {record["run_id"]} has {len(sizes)} hidden layers; the '
        f'condition has places for {self.max_depth}.'
      )
    if record['activation'] not in ACTIVATIONS:
      raise ValueError(
        f'Network {record["run_id"]} has activation {record["activation"]!r}; '
        f'allowed: {", ".join(ACTIVATIONS)}.'
      )
    there, width = np.zeros((2, self.max_depth))
    there[: len(sizes)] = 1
    if sizes:
      width[: len(sizes)] = self.widths(np.array(sizes), 'width')
    depth = 2 * len(sizes) / self.max_depth - 1
    num_params = self.params(np.array([record['n_params']]), 'n_params')
    activation = [record['activation'] == name for name in ACTIVATIONS]
    return np.concatenate([[depth], there, width, num_params, activation]).astype(np.float32)


def make(max_depth: int = 4, max_width: int = 1024, max_params: int = 10**6) -> Architecture:
  """Depth, widths, number of parameters and activation.

  Args:
    max_depth: hidden layers that have a place.
    max_width: what becomes 1; a width of 1 becomes -1.
    max_params: likewise, of the number of parameters.

  Raises:
    ValueError: for no depth, or bounds of at most 1.
  """
  if max_depth < 1:
    raise ValueError(f'max_depth must be at least 1; got {max_depth}.')
  return Architecture(
    max_depth, scaling.Scale(1, max_width, True), scaling.Scale(1, max_params, True)
  )
