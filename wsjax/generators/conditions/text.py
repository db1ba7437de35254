"""Condition by a description of the task in words."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import config, files


@dataclasses.dataclass(frozen=True)
class Text(config.Section):
  """A vector per description.

  Attributes:
    words: number of entries where words are hashed.
    path: of an .npz with 'texts' [n], descriptions as `describe` gives them, and 'vectors' [n, C];
      '' hashes the words.
  """

  words: config.PositiveInt = 64
  path: str = ''

  def __post_init__(self):
    super().__post_init__()
    _ = self._vectors  # Checks the file.

  @functools.cached_property
  def _vectors(self) -> dict[str, np.ndarray]:
    """Description -> vector of the file; empty without one."""
    if not self.path:
      return {}
    try:
      arrays = files.read_npz(self.path)
      texts, vectors = arrays['texts'], arrays['vectors']
    except (OSError, KeyError, ValueError) as error:
      raise ValueError(f"{self.path} is no .npz with 'texts' and 'vectors': {error}.") from error
    if vectors.ndim != 2 or texts.shape != vectors.shape[:1]:
      raise ValueError(
        f'{self.path} needs texts [n] and vectors [n, C]; got {texts.shape} and {vectors.shape}.'
      )
    if not np.isfinite(vectors).all():
      raise ValueError(f'{self.path} has vectors that are not finite.')
    return dict(zip(texts.tolist(), vectors, strict=True))

  @property
  def size(self) -> int:
    """Number of entries."""
    return len(next(iter(self._vectors.values()))) if self._vectors else self.words

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Computes the vectors of records."""
    texts = [describe(record) for record in records]
    if not self.path:
      return np.stack([bag_of_words(text, self.size) for text in texts])
    if unknown := sorted(set(texts) - set(self._vectors)):
      raise ValueError(
        f'There is no vector for {unknown[0]!r}, the first of {len(unknown)} descriptions; there '
        f'are {len(self._vectors)}, such as {next(iter(self._vectors))!r}.'
      )
    return np.stack([self._vectors[text] for text in texts]).astype(np.float32)


def describe(record: Mapping[str, Any]) -> str:
  """Describes the network of a record: 'classification of mnist: class 1, class 2 or the rest'."""
  names = [lineage['name'] for lineage in record['datasets']]
  text = (record['task'] or 'unknown task').replace('_', ' ')
  if names:
    text += f' of {" and ".join(names)}'
  labels = record['datasets'][0].get('labels') if names else None
  if labels:
    found = [f'class {i}' for i, bit in enumerate(labels) if bit == '1']
    text += f': {", ".join(found)} or the rest'
  return text


def bag_of_words(text: str, size: int) -> np.ndarray:
  """Hashes words and pairs of words with signs to a unit vector [size] float32.

  Case and punctuation do not matter.

  Source: Weinberger et al. 2009, arXiv:0902.2206, section 2 (signed hashing).
  """
  words = re.findall(r'[a-z0-9]+', text.lower())
  vector = np.zeros(size, np.float64)
  for token in [*words, *map(' '.join, zip(words, words[1:], strict=False))]:
    # `hash` differs between processes.
    number = int.from_bytes(hashlib.sha256(token.encode()).digest()[:8], 'big')
    vector[(number >> 1) % size] += 1 if number & 1 else -1
  norm = np.linalg.norm(vector)
  return (vector / (norm or 1.0)).astype(np.float32)
