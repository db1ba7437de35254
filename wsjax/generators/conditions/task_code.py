"""Which task: the label of every class, or the class of one image."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.zoo import targets

KINDS = ('bits', 'class')


@dataclasses.dataclass(frozen=True)
class TaskCode:
  """Condition by the task.

  Attributes:
    size: C, the number of classes.
    kind: 'bits', 1 for the classes that a binary task is to find and -1 for the others; or 'class',
      one-hot, of the image that a network draws.
    root: of data sets, as in `datasets.load`; for 'class' only.
  """

  size: int
  kind: str
  root: str | os.PathLike[str] | None

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, C] float32 of checkpoint records.

    Raises:
      ValueError: if a network has no such task, or of another number of classes.
    """
    if self.kind == 'class':
      classes = targets.image_classes(records, self.root)
      if classes.max(initial=0) >= self.size:
        raise ValueError(f'A network draws class {classes.max()}; there are {self.size}.')
      return np.eye(self.size, dtype=np.float32)[classes]
    found = bits(records)
    if found.shape[1] != self.size:
      raise ValueError(f'Tasks are of {found.shape[1]} classes, and the condition of {self.size}.')
    return (2 * found - 1).astype(np.float32)


def bits(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """[N, C] booleans: label of every class of a binary task, from records.

  Raises:
    ValueError: if a network is of no binary task, or numbers of classes differ.
  """
  texts = []
  for record in records:
    lineage = (record['datasets'] or [{}])[0]
    if not lineage.get('labels'):
      raise ValueError(
        f'Network {record["run_id"]} was not trained on a subset of classes: '
        'its record has no labels.'
      )
    texts.append(lineage['labels'])
  if len({len(text) for text in texts}) != 1:
    raise ValueError('Binary tasks of one condition have one set of classes.')
  return np.array([[bit == '1' for bit in text] for text in texts])


def make(
  size: int = 10, kind: str = 'bits', root: str | os.PathLike[str] | None = None
) -> TaskCode:
  """The task of a network.

  Args:
    size: number of classes.
    kind: 'bits' or 'class'.
    root: of data sets, for 'class'.

  Raises:
    ValueError: for another kind.
  """
  if kind not in KINDS:
    raise ValueError(f'Unknown kind {kind!r} of a task code; allowed: {", ".join(KINDS)}.')
  return TaskCode(size, kind, root)
