"""Statistics of every layer: the baseline that other encoders must beat.

Source: Unterthiner et al. 2020, arXiv:2002.11448, section 4: mean, variance and quantiles of
weights and biases, layer by layer.
"""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_TINY = 1e-12  # Keeps the gradient of a root finite.


def statistics(params: typing.Params, spec: spec_lib.Spec) -> jax.Array:
  """Mean, deviation, norm and quantiles of every leaf.

  Args:
    params: weights of one network.
    spec: its architecture.

  Returns:
    [8 * leaves]. The norm is that of the leaf over the root of its size.

  Raises:
    ValueError: if `params` do not fit `spec`.
  """
  spec.check(params)
  parts = []
  for leaf in spec.leaves:
    value = jnp.reshape(params[leaf.path], (-1,))
    moments = [
      jnp.mean(value),
      jnp.sqrt(jnp.var(value) + _TINY),
      jnp.sqrt(jnp.mean(value**2) + _TINY),
    ]
    parts += [jnp.stack(moments), jnp.quantile(value, jnp.asarray(QUANTILES, value.dtype))]
  return jnp.concatenate(parts)


class Statistics(nn.Module):
  """An MLP on the statistics.

  Attributes:
    spec: the architecture.
    hidden: widths of the hidden layers.
    embedding: length of the embedding.
    dropout: share of the last hidden layer that is dropped in training.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  spec: spec_lib.Spec
  hidden: Sequence[int] = (256,)
  embedding: int = 128
  dropout: float = 0.0

  @nn.compact
  def __call__(self, params: typing.Params, *, train: bool = False) -> jax.Array:
    """Weights of one network -> [embedding]."""
    x = statistics(params, self.spec)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.relu(nn.Dense(self.embedding)(x))


def make(
  architecture: model_lib.Model,
  *,
  hidden: tuple[int, ...] = (256,),
  embedding: int = 128,
  dropout: float = 0.0,
) -> Statistics:
  """The encoder for one architecture; see `Statistics`."""
  return Statistics(architecture.spec, tuple(hidden), embedding, dropout)
