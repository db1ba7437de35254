"""Base of encoders: from the weights of one network to one vector."""

import abc
from typing import Any, ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from wsjax import config
from wsjax.models import model as model_lib


class Encoder(config.Section, nn.Module, abc.ABC):
  """Features of one network, and a layer that makes an embedding of them.

  A subclass computes `features`; batches are made by `vmap`. Any other Flax module that
  `wsjax.testing.check_encoder` accepts is an encoder too.

  Attributes:
    INVARIANT_TO: kinds of symmetry, from `spec.KINDS`, that do not change the embedding.
    READS: 'scaled' weights, divided by their size in training networks; 'raw' ones; or 'both', with
      the raw ones as the argument `raw`.
    architecture: model whose weights are read.
    embedding: length of the embedding.
    dropout: rate on the features in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ()
  READS: ClassVar[str] = 'scaled'

  architecture: model_lib.Model
  embedding: config.PositiveInt = 128
  dropout: config.Rate = 0.0

  @abc.abstractmethod
  def features(self, params: Any, *, train: bool = False) -> Float[Array, ' features']:
    """Features of one network; its layers are those of the encoder."""

  @nn.compact
  def __call__(
    self, params: Any, *, train: bool = False, raw: Any = None
  ) -> Float[Array, ' embedding']:
    """Embeds the weights of one network, or its graph."""
    x = self.features(params, train=train, **({} if raw is None else {'raw': raw}))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))
