"""What a network is for, in words: a vector per description."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
  """Condition by a description of the task.

  Attributes:
    size: C.
    vectors: description -> [C]; None hashes the words.
  """

  size: int
  vectors: Mapping[str, np.ndarray] | None

  def of_records(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N, C] float32 of checkpoint records.

    Raises:
      ValueError: if a description has no vector.
    """
    texts = [describe(record) for record in records]
    if self.vectors is None:
      return np.stack([bag_of_words(text, self.size) for text in texts])
    if unknown := sorted(set(texts) - set(self.vectors)):
      raise ValueError(
        f'There is no vector for {unknown[0]!r}, the first of {len(unknown)} '
        f'descriptions; there are {len(self.vectors)}, such as '
        f'{next(iter(self.vectors))!r}.'
      )
    return np.stack([self.vectors[text] for text in texts]).astype(np.float32)


def describe(record: Mapping[str, Any]) -> str:
  """A description: 'classification of mnist: class 1, class 2 or the rest'.

  Args:
    record: of a checkpoint.
  """
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
  """[size] float32 of length 1: words and pairs of words, hashed with signs.

  Args:
    text: of at least one word; case and punctuation do not matter.
    size: number of entries.

  Source: Weinberger et al. 2009, arXiv:0902.2206, section 2 (signed hashing).
  """
  words = re.findall(r'[a-z0-9]+', text.lower())
  vector = np.zeros(size, np.float64)
  for token in [*words, *map(' '.join, zip(words, words[1:], strict=False))]:
    # Not `hash`, which is another one in every process.
    number = int.from_bytes(hashlib.sha256(token.encode()).digest()[:8], 'big')
    vector[(number >> 1) % size] += 1 if number & 1 else -1
  norm = np.linalg.norm(vector)
  return (vector / (norm or 1.0)).astype(np.float32)


def make(size: int = 64, path: str | os.PathLike[str] = '') -> Text:
  """A vector per description.

  Args:
    size: number of entries where words are hashed.
    path: of an .npz with 'texts' [n], descriptions as `describe` gives them, and 'vectors' [n, C];
      '' hashes the words.

  Raises:
    ValueError: if the file is not there or has no such arrays.
  """
  if not path:
    if size < 1:
      raise ValueError(f'size must be at least 1; got {size}.')
    return Text(size, None)
  try:
    with np.load(path, allow_pickle=False) as file:
      texts, vectors = file['texts'], file['vectors']
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(f"{path} is no .npz with 'texts' and 'vectors': {error}.") from error
  if vectors.ndim != 2 or texts.shape != vectors.shape[:1]:
    raise ValueError(
      f'{path} needs texts [n] and vectors [n, C]; got {texts.shape} and {vectors.shape}.'
    )
  if not np.isfinite(vectors).all():
    raise ValueError(f'{path} has vectors that are not finite.')
  known = dict(zip(texts.tolist(), vectors, strict=True))
  return Text(vectors.shape[1], known)
