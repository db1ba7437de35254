"""Statistics of every parameter: the baseline that other encoders must beat.

Source: Unterthiner et al. 2020, arXiv:2002.11448, section 4: mean, variance and quantiles of
weights and biases, layer by layer.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.encoders import encoder
from wsjax.symmetry import spec as spec_lib

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_TINY = 1e-12  # Keeps the gradient of a root finite.


class Statistics(encoder.Encoder):
  """MLP on mean, deviation, norm and quantiles of every parameter.

  Attributes:
    hidden: widths of the hidden layers.
  """

  INVARIANT_TO: ClassVar[tuple[str, ...]] = ('permutation',)

  hidden: tuple[config.PositiveInt, ...] = (256,)

  def features(self, params: typing.Params, *, train: bool = False) -> Float[Array, ' features']:
    """Outputs of the last hidden layer."""
    del train
    x = statistics(params, self.architecture.spec)
    for width in self.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return x


def statistics(params: typing.Params, spec: spec_lib.Spec) -> Float[Array, ' statistics']:
  """Mean, deviation, root mean square and quantiles of every parameter of one network.

  Raises:
    ValueError: if `params` do not fit `spec`.
  """
  spec.check(params)
  parts = []
  for leaf in spec.leaves:
    value = jnp.reshape(params[leaf.path], (-1,))
    roots = jnp.sqrt(jnp.stack([jnp.var(value), jnp.mean(value**2)]) + _TINY)
    quantiles = jnp.quantile(value, jnp.asarray(QUANTILES, value.dtype))
    parts += [jnp.mean(value)[None], roots, quantiles]
  return jnp.concatenate(parts)
