"""Deterministic map from a task, a condition or a set of examples, to the weights of a network."""

import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from wsjax import config, typing
from wsjax.layers import mlp
from wsjax.models import model as model_lib

POOLS = ('mean', 'attention')
REACHES = ('all', 'last')


class SetEncoder(config.Section, nn.Module):
  """Encoder of a set of examples, invariant to their order: features, pooled and projected.

  Attributes:
    size: C of the vector.
    width: of the hidden layers.
    depth: hidden layers before the pool.
    pool: 'mean' over examples; or 'attention', means with learned weights, as many of them as there
      are heads.
    num_heads: of the attention.

  Source: Zaheer et al. 2017, arXiv:1703.06114, theorem 2 (mean of features); Lee et al. 2019,
    arXiv:1810.00825, section 3.2 (pooling by attention).
  """

  size: config.PositiveInt
  width: config.PositiveInt = 128
  depth: config.NonNegativeInt = 2
  pool: Annotated[str, config.OneOf(POOLS)] = 'mean'
  num_heads: config.PositiveInt = 4

  @nn.compact
  def __call__(
    self, examples: Float[Array, 's d'], mask: Bool[Array, ' s'] | None = None
  ) -> Float[Array, ' size']:
    """Encodes a set; the mask is True for real examples, of which there is one at least."""
    h = examples
    for number in range(self.depth):
      h = nn.gelu(nn.Dense(self.width, name=f'example{number}')(h))
    if mask is None:
      mask = jnp.ones(len(examples), bool)
    if self.pool == 'mean':
      weights = (mask / mask.sum())[:, None]
    else:
      scores = nn.Dense(self.num_heads, name='scores')(h)
      scores = jnp.where(mask[:, None], scores, -jnp.inf)
      weights = jax.nn.softmax(scores, axis=0)
    # Padding must not come through, not even as 0 times infinity.
    pooled = weights.T @ jnp.where(mask[:, None], h, 0)
    pooled = nn.gelu(nn.Dense(self.width, name='wide')(pooled.ravel()))
    return nn.Dense(self.size, name='out')(pooled)


class TaskNetwork(config.Section, nn.Module):
  """Residual MLP on a condition whose last layer has an output per weight.

  The weights are those of a learned base network plus a change that depends on the condition and is
  zero at initialisation. The change is divided by the width, so that a step of Adam changes a
  generated weight about as much as a learned one.

  Attributes:
    architecture: of the networks.
    encoder: module from the input to the condition [C], such as `SetEncoder`; None
      where the input is the condition.
    width: of the hidden layers.
    depth: number of blocks.
    pairs: whether products of two entries of the condition are inputs, too.
    reach: 'all' parameters depend on the condition, or those of the 'last' layer only.

  Source: Ha et al. 2017, arXiv:1609.09106 (hypernetworks); Yang et al. 2022, arXiv:2203.03466,
    table 3 (the division by the width).
  """

  architecture: model_lib.Model
  encoder: nn.Module | None = None
  width: config.PositiveInt = 128
  depth: config.NonNegativeInt = 2
  pairs: bool = True
  reach: Annotated[str, config.OneOf(REACHES)] = 'all'

  @nn.compact
  def __call__(self, condition: jax.Array) -> typing.Params:
    """Computes the parameters of one network from the input of the encoder, or [C]."""
    base = self.param('base', self.architecture.init)
    if self.encoder is not None:
      condition = self.encoder(condition)
    if self.pairs:
      rows, columns = np.triu_indices(len(condition), 1)
      products = condition[rows] * condition[columns]
      condition = jnp.concatenate([condition, products])
    h = nn.Dense(self.width, name='in')(condition)
    h = mlp.residual(h, self.width, self.depth)
    h = nn.LayerNorm(name='norm')(h)
    leaves = self.architecture.spec.leaves
    if self.reach == 'last':
      layer = leaves[-1].path.rpartition('/')[0]
      leaves = [x for x in leaves if x.path.rpartition('/')[0] == layer]
    size = sum(math.prod(leaf.shape) for leaf in leaves)
    # Without a bias, which the base is.
    change = nn.Dense(size, kernel_init=nn.initializers.zeros, use_bias=False, name='out')(h)
    params, start = dict(base), 0
    for leaf in leaves:
      stop = start + math.prod(leaf.shape)
      params[leaf.path] = base[leaf.path] + change[start:stop].reshape(leaf.shape) / self.width
      start = stop
    return params
