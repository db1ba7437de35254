"""Condition by the task: the label of every class, or the class of one image."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from wsjax import config
from wsjax.zoo import targets

KINDS = ('bits', 'class')


@dataclasses.dataclass(frozen=True)
class TaskCode(config.Section):
  """Code of the task of a network.

  Attributes:
    size: number of classes C.
    kind: 'bits', 1 for the classes that a binary task is to find and -1 for the others; or 'class',
      one-hot, of the image that a network draws.
    root: folder of data sets for 'class', as in `datasets.load`.
  """

  size: config.PositiveInt = 10
  kind: Annotated[str, config.OneOf(KINDS)] = 'bits'
  root: str | None = None

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    if self.kind == 'class':
      classes, _ = targets.image_classes(records, self.root)
      if classes.max(initial=0) >= self.size:
        raise ValueError(f'A network draws class {classes.max()}; there are {self.size}.')
      return np.eye(self.size, dtype=np.float32)[classes]
    found = bits(records)
    if found.shape[1] != self.size:
      raise ValueError(f'Tasks are of {found.shape[1]} classes, and the condition of {self.size}.')
    return (2 * found - 1).astype(np.float32)


def bits(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Reads the label of every class of binary tasks from records, [N, C] booleans.

  Raises:
    ValueError: if a network has no binary task, or numbers of classes differ.
  """
  texts = []
  for record in records:
    lineage = (record['datasets'] or [{}])[0]
    if not lineage.get('labels'):
      name = record['run_id']
      raise ValueError(f'Network {name} was not trained on a subset of classes: it has no labels.')
    texts.append(lineage['labels'])
  if len({len(text) for text in texts}) != 1:
    raise ValueError('Binary tasks of one condition have one set of classes.')
  return np.array([[bit == '1' for bit in text] for text in texts])
