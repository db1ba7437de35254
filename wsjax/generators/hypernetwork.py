"""Hypernetwork: one pass from noise and condition to the weights of a network.

Without noise it is a regression of weights on conditions (Ha et al. 2017, arXiv:1609.09106). With
noise it is a sampler, and learns by the energy score, which is lowest for the true distribution,
needs no density and no adversary: for a network y and samples g, g' of its condition, E|g - y| -
E|g - g'| / 2 (Gneiting & Raftery 2007, JASA 102(477), equation 22).

Some dozens of coordinates of noise cannot make what varies freely in a zoo: the weights of a pixel
that is always black stay where they started, each for itself. So every latent may have noise of its
own as well. In many dimensions the energy score sees the size of all of it and hardly where it is;
the same score of every latent by itself (equation 21) does.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import typing
from wsjax.generators import generator
from wsjax.generators.parts import single_pass
from wsjax.layers import transformer

NETWORKS = {
  'mlp': single_pass.MLP,
  'transformer': single_pass.Transformer,
  'chunks': single_pass.Chunks,
}
# Below this a distance per coordinate has no direction worth following.
_NEAREST = 1e-6
# Parameter of the logarithms of the scales of own noise, and where they start.
_SCALES, _SCALE = 'latent_noise', 0.3


@dataclasses.dataclass(frozen=True)
class Hypernetwork:
  """Generator by a single pass.

  Attributes:
    module: of `single_pass`: ([C] noise and condition, (T, D)) -> [T, D].
    noise_size: coordinates of the noise; 0 = one network per condition.
    condition_size: features of the condition; 0 = unconditional.
    draws: samples per training network in the energy score.
    latent_noise: whether every latent has noise of its own, of a learned scale.
    single: weight of the score of every latent by itself.
  """

  module: nn.Module
  noise_size: int
  condition_size: int
  draws: int
  latent_noise: bool
  single: float

  def init(self, key: jax.Array, example: typing.Array) -> typing.PyTree:
    """Parameters for latents of the shape of `example`, [T, D]."""
    given = jnp.zeros(self.noise_size + self.condition_size)
    params = self.module.init(key, given, example.shape)['params']
    if self.latent_noise:
      params = {**params, _SCALES: jnp.full(example.shape, math.log(_SCALE))}
    return params

  def loss(
    self,
    params: typing.PyTree,
    batch: typing.Array,
    key: jax.Array,
    condition: typing.Array | None = None,
    *,
    train: bool = True,
  ) -> tuple[jax.Array, generator.Metrics]:
    """Energy score, or without noise the squared error, per latent.

    Args:
      params: from `init`.
      batch: [b, T, D] latents.
      key: of the noise.
      condition: [b, C], or None.
      train: not used; the same noise is drawn in validation.

    Returns:
      The mean over the batch, and with noise the two parts of the score: 'to_data', the distance to
      the training networks, and 'to_samples', that between samples of one condition. Both in root
      mean square per latent. With `single` also 'single', the mean score of single latents.
    """
    del train
    num = len(batch)
    if not self.noise_size:
      made = self.sample(params, key, num, shape=batch.shape[1:], condition=condition)
      return jnp.mean((made - batch) ** 2), {}
    keys = jax.random.split(key, self.draws)
    made = jax.vmap(
      lambda key: self.sample(params, key, num, shape=batch.shape[1:], condition=condition)
    )(keys)
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
    params: typing.PyTree,
    key: jax.Array,
    num: int,
    *,
    shape: tuple[int, int],
    condition: typing.Array | None = None,
  ) -> jax.Array:
    """Draws latents.

    Args:
      params: from `init`.
      key: of the noise; not used without noise.
      num: how many.
      shape: (T, D).
      condition: [num, C], or None.

    Returns:
      [num, T, D] latents.
    """
    made = jax.vmap(lambda given: self.module.apply({'params': params}, given, shape))(
      self._given(key, num, condition)
    )
    if self.latent_noise:
      noise = jax.random.normal(jax.random.fold_in(key, 1), made.shape)
      made += jnp.exp(params[_SCALES])[None] * noise
    return made

  def stream(
    self,
    params: typing.PyTree,
    key: jax.Array,
    *,
    shape: tuple[int, int],
    rows: int,
    condition: typing.Array | None = None,
  ) -> Iterator[np.ndarray]:
    """One network in parts, so that it never has to fit into memory.

    Args:
      params: from `init`.
      key: of the noise; the same as for `sample` gives the same network.
      shape: (T, D).
      rows: tokens of a part.
      condition: [C], or None.

    Yields:
      [rows, D] of tokens in order, on the host; the last may be shorter.

    Raises:
      ValueError: unless the network is 'chunks', whose tokens are made apart.
    """
    if not isinstance(self.module, single_pass.Chunks):
      raise ValueError(
        "Only network='chunks' makes one token without the others; this is "
        f'{type(self.module).__name__}.'
      )
    if condition is not None:
      condition = jnp.asarray(condition)[None]
    given = self._given(key, 1, condition)[0]
    for first in range(0, shape[0], rows):
      size = (min(rows, shape[0] - first), shape[1])
      yield np.asarray(self._part(params, given, np.int32(first), size))

  @functools.partial(jax.jit, static_argnames=('self', 'size'))
  def _part(
    self, params: typing.PyTree, given: jax.Array, first: jax.Array, size: tuple[int, int]
  ) -> jax.Array:
    """Tokens `first` to `first` + size[0] of one network."""
    return self.module.apply({'params': params}, given, size, first)

  def _given(self, key: jax.Array, num: int, condition: typing.Array | None) -> jax.Array:
    """[num, C] noise, and behind it the condition [num, C'] if there is one."""
    noise = jax.random.normal(key, (num, self.noise_size))
    if condition is None:
      return noise
    return jnp.concatenate([noise, jnp.asarray(condition)], axis=1)


def _distance(a: jax.Array, b: jax.Array) -> jax.Array:
  """Root mean square over the last two axes of a - b; smooth at 0."""
  return jnp.sqrt(jnp.mean((a - b) ** 2, axis=(-2, -1)) + _NEAREST)


def make(
  network: str = 'mlp',
  width: int = 256,
  depth: int = 2,
  num_heads: int = 4,
  noise_size: int = 32,
  condition_size: int = 0,
  draws: int = 2,
  latent_noise: bool = False,
  single: float = 0.0,
) -> Hypernetwork:
  """The hypernetwork.

  Args:
    network: 'mlp', all latents at once; 'transformer', tokens that attend to each other; or
      'chunks', every token by itself, in constant memory.
    width: of its hidden layers.
    depth: number of its blocks.
    num_heads: of the transformer; divides `width`.
    noise_size: coordinates of the noise; 0 = one network per condition.
    condition_size: features of the condition; 0 = unconditional.
    draws: samples per training network in the energy score, at least 2.
    latent_noise: whether every latent has, besides, noise of its own, of a learned scale.
    single: weight of the score of every latent by itself, beside that of all of them together; at
      least 0.

  Raises:
    ValueError: if the network is unknown, the heads do not divide the width, there is neither noise
      nor condition, `draws` < 2, `single` < 0, or latents of 'chunks', which are of any number, are
      to have own noise.
  """
  if network not in NETWORKS:
    raise ValueError(f'Unknown network {network!r}; allowed: {", ".join(NETWORKS)}.')
  if noise_size + condition_size < 1:
    raise ValueError('A hypernetwork needs noise or a condition; both sizes are 0.')
  if draws < 2:
    raise ValueError(f'draws is {draws}, not >= 2: samples have no distance.')
  if single < 0:
    raise ValueError(f'single is {single}, not >= 0.')
  if latent_noise and network == 'chunks':
    raise ValueError(
      "latent_noise has a parameter per latent; network='chunks' is for any "
      "number of them. Allowed with 'mlp' and 'transformer'."
    )
  if (latent_noise or single) and not noise_size:
    raise ValueError('latent_noise and single are for noise_size > 0.')
  options = {}
  if network == 'transformer':
    transformer.check_heads(width, num_heads)
    options['num_heads'] = num_heads
  module = NETWORKS[network](width, depth, **options)
  return Hypernetwork(module, noise_size, condition_size, draws, latent_noise, single)
