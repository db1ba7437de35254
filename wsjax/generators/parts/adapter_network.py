"""Deterministic map from a condition, such as the vector of a text, to an adapter of a model."""

import math
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config, typing
from wsjax.layers import mlp
from wsjax.models import lora as lora_lib
from wsjax.models import model as model_lib

REACHES = ('adapter', 'prefix', 'none')
TOLD = 'told'


class AdapterNetwork(config.Section, nn.Module):
  """Residual MLP on a condition whose last layer has an output per number of an adapter.

  The adapter is a learned one for all tasks plus a change that depends on the condition, is zero at
  initialisation and goes through a narrow layer, which holds most of the size down.

  Attributes:
    model: that is adapted.
    lora: what is adapted of it.
    width: of the hidden layers.
    depth: number of blocks.
    neck: width of the layer in front of the last.
    reach: what depends on the condition: the 'adapter'; a 'prefix', two vectors that a language
      model reads besides its tokens, see `apply_to`; or 'none'.

  Source: Charakorn et al. 2025, arXiv:2506.06105 (Text-to-LoRA); Yang et al. 2022,
    arXiv:2203.03466, table 3 (the division by the width).
  """

  model: model_lib.Model
  lora: lora_lib.LowRank
  width: config.PositiveInt = 256
  depth: config.NonNegativeInt = 2
  neck: config.PositiveInt = 96
  reach: Annotated[str, config.OneOf(REACHES)] = 'adapter'

  @nn.compact
  def __call__(self, condition: Float[Array, ' c']) -> typing.Params:
    """Computes the factors of an adapter and, with the reach 'prefix', `TOLD` [2, width]."""
    made = dict(self.param('base', self.lora.init, self.model))
    if self.reach == 'none':
      return made
    h = nn.Dense(self.width, name='in')(condition)
    h = mlp.residual(h, self.width, self.depth)
    h = nn.gelu(nn.Dense(self.neck, name='neck')(nn.LayerNorm(name='norm')(h)))
    shapes = self.lora.shapes(self.model)
    if self.reach == 'prefix':
      width = next(leaf.shape[1] for leaf in self.model.spec.leaves)
      shapes = {TOLD: (2, width)}
    size = sum(map(math.prod, shapes.values()))
    # Without a bias, which the learned adapter is.
    change = nn.Dense(size, kernel_init=nn.initializers.zeros, use_bias=False, name='out')(h)
    start = 0
    for path, shape in shapes.items():
      stop = start + math.prod(shape)
      made[path] = made.get(path, 0) + change[start:stop].reshape(shape) / self.neck**0.5
      start = stop
    return made

  def apply_to(self, params: typing.Params, made: typing.Params) -> typing.Params:
    """The weights of a network that was adapted.

    Of `TOLD` the first vector is added to the embedding of token 0, with which each text begins,
    and the second to all positions.
    """
    adapter = {path: x for path, x in made.items() if path != TOLD}
    merged = self.lora.merge(params, adapter)
    if TOLD in made:
      begin, always = made[TOLD]
      embedding, position = merged['embed/embedding'], merged['position/embedding']
      merged['embed/embedding'] = jnp.asarray(embedding).at[0].add(begin)
      merged['position/embedding'] = position + jnp.broadcast_to(always, position.shape)
    return merged
