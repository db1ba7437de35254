"""Noise of a sampler that its owner can make again, and nobody else can tell from fresh noise.

The noise of every sample comes from a keyed pseudorandom function of a nonce that is used once. To
all who lack the key it is independent normal noise, so that samples have the distribution that they
would have anyway.

Source: Gunn et al. 2024, arXiv:2410.07369, section 1 (marks in the noise of a sampler that cannot
be noticed without a key); Bertoni et al. 2011, Cryptographic sponge functions, section 5.11 (a
sponge with its key first is a pseudorandom function).
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float

from wsjax import files

_LEAST, _MOST = 32, 1 << 14  # Bytes of a file with a key.
_NOISE, _NAME = b'wsjax sampler noise', b'wsjax name of a watermark key'


@dataclasses.dataclass(frozen=True)
class Key:
  """Secret of whoever marks networks.

  Attributes:
    secret: bytes that cannot be guessed.
  """

  secret: bytes = dataclasses.field(repr=False)

  @property
  def id(self) -> str:
    """Name of the key, from which it cannot be guessed; for records."""
    return f'wm:{hashlib.sha256(_framed(_NAME, self.secret)).hexdigest()[:32]}'


def read(path: pathlib.Path | str) -> Key:
  """Takes the bytes of a file as a key, such as the private key that `wsjax key` makes.

  Raises:
    ValueError: if it cannot be read, is longer than 16 KiB, or has fewer than 32 bytes.
  """
  content = files.read_bytes(path, max_bytes=_MOST)
  if len(content) < _LEAST or b'PUBLIC KEY' in content:
    raise ValueError(
      f'{path} is no key of a watermark: that is a private file of {_LEAST} bytes or more, such as '
      '`wsjax key` makes.'
    )
  return Key(content)


def normal(key: Key, nonces: Sequence[str], size: int) -> Float[np.ndarray, 'n k']:
  """Standard normal noise [n, size] of a key, one row for each nonce."""
  rows = np.empty((len(nonces), size), np.float32)
  for row, nonce in zip(rows, nonces, strict=True):
    stream = hashlib.shake_256(_framed(_NOISE, key.secret, nonce.encode())).digest(8 * size)
    bits = np.frombuffer(stream, '<u8') >> np.uint64(11)
    row[:] = scipy.special.ndtri((bits + 0.5) * 2.0**-53)
  return rows


def _framed(*parts: bytes) -> bytes:
  """Joins parts, each behind its length, so that no two lists of parts give the same bytes."""
  return b''.join(len(part).to_bytes(8, 'little') + part for part in parts)
