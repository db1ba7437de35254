"""Character language model: a transformer that says the next token.

Source: Radford et al. 2019 (GPT-2): normalisation in front of each block, learned positions.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.models import mlp
from wsjax.models import model as model_lib
from wsjax.symmetry import spec as spec_lib


@dataclasses.dataclass(frozen=True)
class Transformer(config_lib.Section, model_lib.Model):
  """A causal transformer from tokens [b, t] to logits of the next token [b, t, vocabulary].

  Parameters are 'embed/embedding', 'position/embedding', 'block0/query/kernel', ..., 'norm/scale',
  'logits/kernel'. Its spec has the reorderings of hidden units of each block; attention heads have
  gauges besides, which `wsjax.infer` finds.

  Attributes:
    vocabulary: number of tokens.
    length: most tokens of an input.
    width: numbers per token.
    depth: blocks.
    heads: of the attention; they divide the width.
  """

  vocabulary: config_lib.PositiveInt = 31
  length: config_lib.PositiveInt = 16
  width: config_lib.PositiveInt = 64
  depth: config_lib.PositiveInt = 2
  heads: config_lib.PositiveInt = 4

  activation: ClassVar[str] = 'gelu'
  task: ClassVar[str] = 'language_modelling'

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.width % self.heads:
      raise ValueError(f'width is {self.width}, which {self.heads} heads do not divide.')

  @functools.cached_property
  def spec(self) -> spec_lib.Spec:
    """Reordering of the hidden units behind attention."""
    width = self.width

    def pinned(path: str, *shape: int) -> spec_lib.Leaf:
      return spec_lib.Leaf(path, shape, (spec_lib.PINNED,) * len(shape))

    def norm(path: str) -> list[spec_lib.Leaf]:
      return [pinned(f'{path}/scale', width), pinned(f'{path}/bias', width)]

    leaves = [
      pinned('embed/embedding', self.vocabulary, width),
      pinned('position/embedding', self.length, width),
    ]
    groups = []
    for i in range(self.depth):
      groups.append(spec_lib.Group(f'hidden{i}', 4 * width, spec_lib.ACTIVATION_KINDS['gelu']))
      leaves += norm(f'block{i}/norm1')
      leaves += [
        pinned(f'block{i}/{name}/kernel', width, width) for name in ('query', 'key', 'value', 'out')
      ]
      leaves += norm(f'block{i}/norm2')
      hidden = f'hidden{i}'
      leaves += spec_lib.dense(f'block{i}/up', width, 4 * width, reads=None, feeds=hidden)
      leaves += spec_lib.dense(f'block{i}/down', 4 * width, width, reads=hidden, feeds=None)
    leaves += norm('norm')
    leaves += spec_lib.dense('logits', width, self.vocabulary, reads=None, feeds=None)
    return spec_lib.Spec(tuple(groups), tuple(leaves))

  @property
  def input_shape(self) -> tuple[int, ...]:
    """(length,)."""
    return (self.length,)

  def init(self, key: jax.Array) -> typing.Params:
    """Draws kernels with deviation 1 / sqrt(inputs), outputs of blocks smaller by their number."""
    stds = {}
    for leaf in self.spec.leaves:
      kind = leaf.path.rpartition('/')[2]
      std = {'kernel': leaf.shape[0] ** -0.5, 'embedding': 0.1}.get(kind, 0.0)
      if leaf.path.endswith(('out/kernel', 'down/kernel')):
        std /= (2 * self.depth) ** 0.5
      stds[leaf.path] = std
    params = mlp.draw_params(key, self.spec, stds, 'normal')
    return {path: jnp.ones_like(x) if path.endswith('/scale') else x for path, x in params.items()}

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b t'], dropout: model_lib.Dropout = None
  ) -> tuple[Float[Array, 'b t v'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; activations are means over tokens.

    It has no dropout, and tokens beyond the vocabulary count as its last.
    """
    del dropout
    tokens = jnp.clip(jnp.asarray(inputs).astype(jnp.int32), 0, self.vocabulary - 1)
    batch, length = tokens.shape
    x = jnp.asarray(params['embed/embedding'])[tokens]
    x = x + params['position/embedding'][None, :length]
    hidden = {}
    seen = jnp.tril(jnp.ones((length, length), bool))
    for i in range(self.depth):
      h = _norm(params, f'block{i}/norm1', x)
      query, key, value = (
        (h @ params[f'block{i}/{name}/kernel']).reshape(batch, length, self.heads, -1)
        for name in ('query', 'key', 'value')
      )
      scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / query.shape[-1] ** 0.5
      weights = jax.nn.softmax(jnp.where(seen[None, None], scores, -jnp.inf), axis=-1)
      mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, value).reshape(batch, length, -1)
      x = x + mixed @ params[f'block{i}/out/kernel']
      h = _norm(params, f'block{i}/norm2', x)
      h = jax.nn.gelu(_dense(params, f'block{i}/up', h))
      hidden[f'hidden{i}'] = h.mean(1)
      x = x + _dense(params, f'block{i}/down', h)
    return _dense(params, 'logits', _norm(params, 'norm', x)), hidden


def _dense(params: typing.Params, path: str, x: jax.Array) -> jax.Array:
  """A dense layer on the last axis of [b, t, n]."""
  return x @ params[f'{path}/kernel'] + params[f'{path}/bias'][None, None]


def _norm(params: typing.Params, path: str, x: jax.Array) -> jax.Array:
  """Layer normalisation of [b, t, n]."""
  x = x - x.mean(-1, keepdims=True)
  x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)
  return x * params[f'{path}/scale'][None, None] + params[f'{path}/bias'][None, None]
