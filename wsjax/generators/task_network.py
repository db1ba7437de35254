"""Weights of a network from what it is asked to do: no noise, one answer."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax import typing
from wsjax.generators.parts import single_pass
from wsjax.models import model as model_lib

REACHES = ('all', 'last')


class TaskNetwork(nn.Module):
  """Residual MLP on a condition; the last layer has an output per weight.

  A network is one that is learned for all conditions, and a difference that the condition makes: at
  initialisation there is none. The difference is divided by the width, so that a step of Adam
  changes a weight that is made about as much as one that is learned.

  Attributes:
    architecture: of the networks.
    encoder: module from what is given to [C], such as
      `set_encoder.SetEncoder`; None where [C] is given.
    width: of the hidden layers.
    depth: number of blocks.
    pairs: whether products of two entries of the condition are read, too.
    reach: 'all' leaves differ between conditions, or those of the 'last' layer only, behind a
      backbone that is learned for all.

  Source: Ha et al. 2017, arXiv:1609.09106 (hypernetworks); Yang et al. 2022, arXiv:2203.03466,
    table 3 (the division by the width).
  """

  architecture: model_lib.Model
  encoder: nn.Module | None = None
  width: int = 128
  depth: int = 2
  pairs: bool = True
  reach: str = 'all'

  def __post_init__(self):
    if self.reach not in REACHES:
      raise ValueError(f'Unknown reach {self.reach!r}; allowed: {", ".join(REACHES)}.')
    super().__post_init__()

  @nn.compact
  def __call__(self, condition: jax.Array) -> typing.Params:
    """Params of one network from what the encoder reads, or [C]."""
    base = self.param('base', self.architecture.init)
    if self.encoder is not None:
      condition = self.encoder(condition)
    if self.pairs:
      rows, columns = jnp.triu_indices(len(condition), 1)
      products = condition[rows] * condition[columns]
      condition = jnp.concatenate([condition, products])
    h = nn.Dense(self.width, name='in')(condition)
    h = single_pass.residual(h, self.width, self.depth)
    h = nn.LayerNorm(name='norm')(h)
    leaves = self.architecture.spec.leaves
    if self.reach == 'last':
      layer = leaves[-1].path.rpartition('/')[0]
      leaves = [x for x in leaves if x.path.rpartition('/')[0] == layer]
    change = nn.Dense(
      sum(math.prod(leaf.shape) for leaf in leaves),
      kernel_init=nn.initializers.zeros,
      use_bias=False,  # The base is one.
      name='out',
    )(h)
    params, start = dict(base), 0
    for leaf in leaves:
      stop = start + math.prod(leaf.shape)
      params[leaf.path] = base[leaf.path] + (change[start:stop].reshape(leaf.shape) / self.width)
      start = stop
    return params
