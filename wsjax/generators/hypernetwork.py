"""Hypernetwork: one pass from noise and condition to the weights of a network.

Without noise it is a regression of weights on conditions (Ha et al. 2017, arXiv:1609.09106). With
noise it is a sampler, and learns by the energy score, which is lowest for the true distribution,
needs no density and no adversary: for a network y and samples g, g' of its condition, E|g - y| -
E|g - g'| / 2 (Gneiting & Raftery 2007, JASA 102(477), equation 22).

Some dozens of coordinates of noise cannot make what varies freely in a zoo, such as the weights of
a pixel that is always black. So every latent may have noise of its own as well. In many dimensions
the energy score hardly sees where that noise is; the score of every latent by itself (equation 21)
does.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config
from wsjax.generators.generator import Condition, Latents, Metrics, Params, Shape
from wsjax.generators.parts import inversion
from wsjax.layers import mlp, transformer
from wsjax.tokens import positions

# Features of the place of a token.
_PLACES = 64
# Below this a distance per coordinate has no direction worth following.
_NEAREST = 1e-6
# Recovered noise of a latent beyond this is an outlier, such as a weight that was pruned.
_OWN = 3.0
# Parameter of the logarithms of the scales of latent noise, and their initial scale.
_SCALES, _SCALE = 'latent_noise', 0.3


class MLP(nn.Module):
  """Residual blocks and one layer for all latents.

  Latents of all networks here have about unit variance at initialisation, so that samples differ.
  """

  width: int
  depth: int

  @nn.compact
  def __call__(self, given: Float[Array, ' c'], shape: Shape) -> Float[Array, 't d']:
    """Computes latents of a shape (T, D)."""
    h = nn.Dense(self.width, name='in')(given)
    h = mlp.residual(h, self.width, self.depth)
    out = nn.Dense(shape[0] * shape[1], name='out')(h)
    return out.reshape(shape)


class Transformer(nn.Module):
  """A learned query per token; noise and condition modulate every block."""

  width: int
  depth: int
  num_heads: int

  @nn.compact
  def __call__(self, given: Float[Array, ' c'], shape: Shape) -> Float[Array, 't d']:
    """Computes latents of a shape (T, D)."""
    given = nn.Dense(self.width, name='in')(given)
    queries = self.param('queries', nn.initializers.normal(1.0), (shape[0], self.width))
    h = queries + given[None]
    for number in range(self.depth):
      block = transformer.Block(self.width, self.num_heads, 0.0, name=f'block{number}')
      h = block(h, nn.silu(given))
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))


class Chunks(nn.Module):
  """Every token by itself, from its place in the sequence.

  Neither its parameters nor the memory for a part of the tokens grow with the number of tokens.

  Source: von Oswald et al. 2020, arXiv:1906.00695, section 2 (chunks).
  """

  width: int
  depth: int

  @nn.compact
  def __call__(
    self, given: Float[Array, ' c'], shape: tuple[int, int], first: jax.Array | int = 0
  ) -> Float[Array, 't d']:
    """Computes `shape[0]` tokens from number `first` on."""
    places = first + jnp.arange(shape[0])
    features = positions.sinusoidal(places, _PLACES)
    h = nn.Dense(self.width, name='places')(features)
    h += nn.Dense(self.width, name='in')(given)[None]
    h = mlp.residual(h, self.width, self.depth)
    return nn.Dense(shape[1], name='out')(nn.LayerNorm(name='norm')(h))


NETWORKS = {'mlp': MLP, 'transformer': Transformer, 'chunks': Chunks}


@dataclasses.dataclass(frozen=True)
class Hypernetwork(config.Section):
  """Generator by a single pass.

  Attributes:
    network: 'mlp', all latents at once; 'transformer', tokens that attend to each other; or
      'chunks', every token by itself, in constant memory.
    width: of its hidden layers.
    depth: number of its blocks.
    num_heads: of the transformer; divides `width`.
    noise_size: coordinates of the noise; 0 gives one network per condition.
    condition_size: features of the condition; 0 is unconditional.
    draws: samples per training network in the energy score.
    latent_noise: whether every latent also has noise of its own, with a learned scale; not for
      'chunks', whose number of latents is open.
    single: weight of the score of every latent by itself, beside that of all of them together.
  """

  network: Annotated[str, config.OneOf(NETWORKS)] = 'mlp'
  width: config.PositiveInt = 256
  depth: config.NonNegativeInt = 2
  num_heads: config.PositiveInt = 4
  noise_size: config.NonNegativeInt = 32
  condition_size: config.NonNegativeInt = 0
  draws: Annotated[int, config.Range(min=2)] = 2
  latent_noise: bool = False
  single: config.NonNegativeFloat = 0.0

  def __post_init__(self):
    super().__post_init__()
    if self.noise_size + self.condition_size < 1:
      raise ValueError('noise_size and condition_size are both 0; one must be at least 1.')
    if self.latent_noise and self.network == 'chunks':
      raise ValueError("latent_noise is for network 'mlp' and 'transformer', not for 'chunks'.")
    if (self.latent_noise or self.single) and not self.noise_size:
      raise ValueError('latent_noise and single need noise_size > 0.')
    if self.network == 'transformer':
      transformer.check_heads(self.width, self.num_heads)

  @property
  def module(self) -> nn.Module:
    """Module from noise and condition [C] and the shape (T, D) to latents [T, D]."""
    heads = {'num_heads': self.num_heads} if self.network == 'transformer' else {}
    return NETWORKS[self.network](self.width, self.depth, **heads)

  def init(self, key: jax.Array, example: Float[Array, 't d']) -> Params:
    """Draws parameters of the network and of the latent noise."""
    given = jnp.zeros(self.noise_size + self.condition_size)
    params = self.module.init(key, given, example.shape)['params']
    if self.latent_noise:
      params = {**params, _SCALES: jnp.full(example.shape, math.log(_SCALE))}
    return params

  def loss(
    self, params: Params, batch: Latents, key: jax.Array, condition: Condition = None, *, train=True
  ) -> tuple[Float[Array, ''], Metrics]:
    """Computes the mean energy score per latent, or without noise the squared error.

    Metrics with noise are the two parts of the score, root mean squares per latent: 'to_data', the
    distance to the training networks, and 'to_samples', that between samples of one condition; with
    `single` also 'single', the mean score of single latents. Validation draws noise, too.
    """
    del train
    options = {'num': len(batch), 'shape': batch.shape[1:], 'condition': condition}
    sample = functools.partial(self.sample, params, **options)
    if not self.noise_size:
      return jnp.mean((sample(key) - batch) ** 2), {}
    made = jax.vmap(sample)(jax.random.split(key, self.draws))
    batch = jnp.asarray(batch)[None]
    to_data = jnp.mean(_distance(made, batch))
    shifted = jnp.roll(made, 1, axis=0)  # Every draw beside another one.
    to_samples = jnp.mean(_distance(made, shifted))
    metrics = {'to_data': to_data, 'to_samples': to_samples}
    total = to_data - to_samples / 2
    if self.single:
      metrics['single'] = jnp.mean(jnp.abs(made - batch) - jnp.abs(made - shifted) / 2)
      total += self.single * metrics['single']
    return total, metrics

  @functools.partial(jax.jit, static_argnames=('self', 'num', 'shape'))
  def sample(
    self,
    params: Params,
    key: jax.Array,
    num: int,
    *,
    shape: Shape,
    condition: Condition = None,
    noise: Float[Array, 'num k'] | None = None,
  ) -> Latents:
    """Computes latents from noise in one pass; noise that is given takes the place of the key."""
    shared, own = (None, None) if noise is None else jnp.split(noise, [self.noise_size], axis=1)
    apply = functools.partial(self.module.apply, {'params': params}, shape=shape)
    made = jax.vmap(apply)(self._given(key, num, condition, shared))
    if self.latent_noise:
      if own is None:
        own = jax.random.normal(jax.random.fold_in(key, 1), made.shape)
      made += jnp.exp(params[_SCALES])[None] * own.reshape(made.shape)
    return made

  def noise_parts(self, shape: Shape) -> tuple[int, ...]:
    """Numbers of normal draws of one sample: of noise, and of noise of the latents' own."""
    return (self.noise_size, shape[0] * shape[1]) if self.latent_noise else (self.noise_size,)

  @functools.partial(jax.jit, static_argnames='self')
  def recover(
    self, params: Params, latents: Latents, start: Float[Array, 'n s'], error: Float[Array, '']
  ) -> tuple[Float[Array, 'n k'], Float[Array, ' n']]:
    """Estimates the noise behind latents; see `generator.Generator`."""
    scales = jnp.exp(params[_SCALES]).ravel() if self.latent_noise else 0.0
    std = jnp.broadcast_to(jnp.sqrt(scales**2 + error**2), latents[0].size)

    def apply(z: jax.Array) -> jax.Array:
      return self.module.apply({'params': params}, z, latents.shape[1:]).ravel()

    def one(target: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
      noise, value = inversion.invert(apply, target, start, std)
      if self.latent_noise:
        own = scales * (target - apply(noise)) / std**2
        noise = jnp.concatenate([noise, jnp.clip(own, -_OWN, _OWN)])
      return noise, value

    return jax.vmap(one)(latents.reshape(len(latents), -1), start)

  def stream(
    self, params: Params, key: jax.Array, *, shape: Shape, rows: int, condition=None
  ) -> Iterator[np.ndarray]:
    """Generates the network of `sample` for a key in parts, so that it need not fit into memory.

    The condition is [C], or None. The parts are tokens [rows, D] in order, on the host; the last
    one may be shorter.

    Raises:
      ValueError: unless the network is 'chunks', which computes every token by itself.
    """
    if self.network != 'chunks':
      raise ValueError(f"stream needs network 'chunks', not {self.network!r}.")
    if condition is not None:
      condition = jnp.asarray(condition)[None]
    given = self._given(key, 1, condition)[0]
    for first in range(0, shape[0], rows):
      size = (min(rows, shape[0] - first), shape[1])
      yield np.asarray(self._part(params, given, np.int32(first), size))

  @functools.partial(jax.jit, static_argnames=('self', 'size'))
  def _part(self, params: Params, given: jax.Array, first: jax.Array, size: Shape) -> jax.Array:
    """Tokens `first` to `first` + size[0] of one network."""
    return self.module.apply({'params': params}, given, size, first)

  def _given(
    self, key: jax.Array, num: int, condition: Condition, noise: jax.Array | None = None
  ) -> Float[Array, 'num c']:
    """Draws noise that is not given, and appends the condition if there is one."""
    if noise is None:
      noise = jax.random.normal(key, (num, self.noise_size))
    if condition is None:
      return noise
    return jnp.concatenate([noise, jnp.asarray(condition)], axis=1)


def _distance(a: jax.Array, b: jax.Array) -> jax.Array:
  """Root mean square over the last two axes of a - b; smooth at 0."""
  return jnp.sqrt(jnp.mean((a - b) ** 2, axis=(-2, -1)) + _NEAREST)
