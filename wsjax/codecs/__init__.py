"""Codecs: maps between tokens and the latents that a generator models."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, Float


class Codec(Protocol):
  """Contract of codecs: fitted on the training split, then fixed."""

  def fit(self, x: np.ndarray) -> Any:
    """Fits the codec to tokens [N, T, D] of the training split and returns its state.

    Raises:
      ValueError: if the networks are too few.
    """
    ...

  def encode(self, state: Any, x: Float[Array, '*b t d']) -> Float[Array, '*b u e']:
    """Computes the latents of tokens."""
    ...

  def decode(self, state: Any, z: Float[Array, '*b u e']) -> Float[Array, '*b t d']:
    """Computes the tokens at latents; differentiable."""
    ...


def reconstruction_error(codec: Codec, state: Any, x: np.ndarray) -> np.ndarray:
  """Computes the error |x - decode(encode(x))| / |x| [N] of networks with tokens x [N, T, D].

  No generator of latents can be nearer to these networks.
  """
  x = np.asarray(x, np.float32)
  error = (x - np.asarray(codec.decode(state, codec.encode(state, x)))).reshape(len(x), -1)
  norm = np.linalg.norm(x.reshape(len(x), -1), axis=-1)
  return np.linalg.norm(error, axis=-1) / np.maximum(norm, np.finfo(np.float32).tiny)
