"""Arrays of the tasks of a suite: vectors of their descriptions, and their words."""

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from wsjax import files
from wsjax.generators.conditions import text as text_lib
from wsjax.zoo.data import lexicon

ENCODERS = ('minilm', 'bag_of_words')
SIZE = 384
_MOST = 64  # Words that a task is evaluated on.


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
  """Tasks of one split.

  Attributes:
    tasks: their names, sentences and levels.
    vectors: encoder -> vectors of the sentences of each task; the last is the paraphrase.
    targets: words to learn from, -1 where a task has fewer.
    counts: words to learn from.
    heldout: words to evaluate on, -1 behind the last; none of the words to learn from. Tasks of
      training have none.
  """

  tasks: Sequence[lexicon.Task]
  vectors: dict[str, Float[np.ndarray, 'n s c']]
  targets: Int[np.ndarray, 'n p length']
  counts: Int[np.ndarray, ' n']
  heldout: Int[np.ndarray, 'n w length']

  def __len__(self) -> int:
    return len(self.tasks)

  def take(self, rows: Int[np.ndarray, ' m']) -> 'Tasks':
    """Some of the tasks, by their places."""
    return Tasks(
      [self.tasks[row] for row in rows],
      {name: x[rows] for name, x in self.vectors.items()},
      self.targets[rows],
      self.counts[rows],
      self.heldout[rows],
    )


def read(
  tasks: Sequence[lexicon.Task], vectors: dict[str, dict[str, np.ndarray]], pool: int
) -> Tasks:
  """Arrays of tasks; a third of the words of each, at most 64, is to evaluate on.

  All words of a training task are to learn from.

  Args:
    tasks: of one split.
    vectors: encoder -> text -> vector.
    pool: most words to learn from.
  """
  learned, heldout = [], []
  for task in tasks:
    count = 0 if task.split == 'train' else min(_MOST, len(task.words) // 3)
    heldout.append(lexicon.encode(task.words[:count]))
    learned.append(lexicon.encode(task.words[count : count + pool]))
  sentences = min(len(task.sentences) for task in tasks)
  return Tasks(
    tasks,
    {
      name: np.stack(
        [[known[s] for s in (*t.sentences[: sentences - 1], t.sentences[-1])] for t in tasks]
      ).astype(np.float32)
      for name, known in vectors.items()
    },
    _pad(learned),
    np.array([len(words) for words in learned], np.int32),
    _pad(heldout),
  )


def _pad(rows: list[np.ndarray]) -> np.ndarray:
  most = max(map(len, rows))
  return np.stack([np.pad(row, ((0, most - len(row)), (0, 0)), constant_values=-1) for row in rows])


def encode(name: str, texts: Sequence[str]) -> Float[np.ndarray, 'n size']:
  """Vectors of texts, by an encoder of `ENCODERS`."""
  if name == 'bag_of_words':
    return np.stack([text_lib.bag_of_words(text, SIZE) for text in texts])
  from wsjax.generators.parts import minilm  # Needs packages of an extra.

  return minilm.installed().encode(texts)


def encode_once(
  name: str, texts: Sequence[str], folder: pathlib.Path
) -> dict[str, Float[np.ndarray, ' size']]:
  """Text -> vector; computed once and kept in a folder."""
  texts = sorted(set(texts))
  digest = hashlib.sha256('\n'.join([name, *texts]).encode()).hexdigest()[:16]
  path = folder / f'vectors-{name}-{digest}.npz'
  if path.exists():
    vectors = files.read_npz(path).get('vectors')
    if vectors is None or vectors.shape != (len(texts), SIZE):
      raise ValueError(f'{path} does not hold {len(texts)} vectors; delete it.')
  else:
    vectors = encode(name, texts)
    buffer = io.BytesIO()
    np.savez(buffer, vectors=vectors)
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(path, buffer.getvalue())
  return dict(zip(texts, vectors, strict=True))
