"""Identity codec: the latents are the tokens."""

import dataclasses
from typing import Any

import numpy as np

from wsjax import config


@dataclasses.dataclass(frozen=True)
class Identity(config.Section):
  """Codec without parameters."""

  def fit(self, x: np.ndarray) -> tuple[()]:
    """Returns an empty state."""
    del x
    return ()

  def encode(self, state: tuple[()], x: Any) -> Any:
    """Returns the tokens."""
    del state
    return x

  def decode(self, state: tuple[()], z: Any) -> Any:
    """Returns the latents."""
    del state
    return z
