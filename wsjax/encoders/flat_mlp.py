"""An MLP on all weights in a row: the control that knows no symmetry."""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib
from wsjax.tokens import layout


class FlatMlp(nn.Module):
  """Hidden layers on the flattened weights.

  Attributes:
    spec: the architecture.
    hidden: widths of the hidden layers.
    embedding: length of the embedding.
    dropout: share of every hidden layer that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ()

  spec: spec_lib.Spec
  hidden: Sequence[int] = (512, 512)
  embedding: int = 128
  dropout: float = 0.0

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> jax.Array:
    """Weights of one network -> [embedding]."""
    x = layout.flatten(params, self.spec)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))


def make(
  architecture: model_lib.Model,
  *,
  hidden: tuple[int, ...] = (512, 512),
  embedding: int = 128,
  dropout: float = 0.0,
) -> FlatMlp:
  """The encoder for one architecture; see `FlatMlp`."""
  return FlatMlp(architecture.spec, tuple(hidden), embedding, dropout)
