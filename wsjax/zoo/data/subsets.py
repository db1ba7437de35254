"""Binary tasks made of classes: a subset of them against all others.

A network of the complement of a subset has the two outputs exchanged. So both are in one split:
else the test networks could be read off training networks.
"""

import numpy as np


def codes(num_classes: int, *, seed: int) -> np.ndarray:
  """Every subset of C classes but the empty one and the whole, [2^C - 2, C] int32: 1 if included.

  Rows 2j and 2j + 1 are complements; the first of them is without class 0. The seed is that of the
  order of the pairs. Raises ValueError for fewer than 2 classes, or more than 16.
  """
  if not 2 <= num_classes <= 16:
    raise ValueError(f'Subsets are of 2 to 16 classes; got {num_classes}.')
  numbers = np.arange(1, 2 ** (num_classes - 1))
  first = numbers[:, None] >> np.arange(num_classes - 1)[None] & 1
  first = np.pad(first, ((0, 0), (1, 0)))
  first = first[np.random.default_rng(seed).permutation(len(first))]
  return np.stack([first, 1 - first], 1).reshape(-1, num_classes).astype('i4')


def text(code: np.ndarray) -> str:
  """A code in records: '0110000000' is classes 1 and 2."""
  return ''.join(str(int(bit)) for bit in code)


def pair(code: str) -> str:
  """The one name of a subset and its complement: that without class 0."""
  return code if code[0] == '0' else code.translate(str.maketrans('01', '10'))


def num_leaks(train: np.ndarray, test: np.ndarray) -> int:
  """How many codes [m, C] have themselves or their complement in [n, C]."""
  seen = {pair(text(code)) for code in train}
  return sum(pair(text(code)) in seen for code in test)
