"""Flax networks that nobody wrote a spec for, to infer one from."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ResNet(nn.Module):
  """Two residual blocks; norm is 'group' or 'batch' (running statistics)."""

  norm: str = 'batch'
  features: int = 6

  @nn.compact
  def __call__(self, x):
    def norm(name):
      if self.norm == 'group':
        return nn.GroupNorm(2, name=name)
      return nn.BatchNorm(use_running_average=True, name=name)

    x = nn.Conv(self.features, (3, 3), use_bias=False, name='stem')(x)
    x = nn.relu(norm('norm')(x))
    for i in range(2):
      y = nn.Conv(4, (3, 3), use_bias=False, name=f'conv{i}a')(x)
      y = nn.relu(norm(f'norm{i}a')(y))
      y = nn.Conv(self.features, (3, 3), name=f'conv{i}b')(y)
      x = nn.relu(x + norm(f'norm{i}b')(y))
    return nn.Dense(3, name='head')(x.mean((1, 2)))


class ViT(nn.Module):
  """Patches, class token, positions; attention as Flax writes it."""

  depth: int = 2
  width: int = 8
  heads: int = 2
  hidden: int = 12
  patch: int = 4
  classes: int = 3

  @nn.compact
  def __call__(self, x):
    patch = (self.patch, self.patch)
    x = nn.Conv(self.width, patch, strides=patch, name='embed')(x)
    x = x.reshape(x.shape[0], -1, self.width)
    start = self.param('cls', nn.initializers.normal(), (1, 1, self.width))
    start = jnp.broadcast_to(start, (x.shape[0], 1, self.width))
    x = jnp.concatenate([start, x], axis=1)
    x = x + self.param('pos', nn.initializers.normal(), x.shape[1:])[None]
    for i in range(self.depth):
      y = nn.LayerNorm(name=f'norm{i}a')(x)
      x += nn.MultiHeadDotProductAttention(self.heads, name=f'attention{i}')(y)
      y = nn.LayerNorm(name=f'norm{i}b')(x)
      y = nn.gelu(nn.Dense(self.hidden, name=f'up{i}')(y))
      x += nn.Dense(self.width, name=f'down{i}')(y)
    x = nn.LayerNorm(name='norm')(x)
    return nn.Dense(self.classes, name='head')(x[:, 0])


class FusedAttention(nn.Module):
  """One kernel makes queries, keys and values; heads are split by reshape."""

  width: int = 8
  heads: int = 2
  size: int = 3

  @nn.compact
  def __call__(self, x):
    x = nn.Dense(self.width, name='embed')(x)
    qkv = nn.Dense(3 * self.heads * self.size, name='qkv')(x)
    qkv = qkv.reshape(*x.shape[:2], 3, self.heads, self.size)
    q, k, v = (qkv[:, :, i] for i in range(3))
    scores = jnp.einsum('bqhd,bkhd->bhqk', q, k) / self.size**0.5
    y = jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(scores), v)
    y = y.reshape(*x.shape[:2], -1)
    x = x + nn.Dense(self.width, name='out')(y)
    return nn.Dense(2, name='head')(x.mean(1))


class Lstm(nn.Module):
  """Flax's cell, a kernel per gate, scanned over time."""

  units: int = 5

  @nn.compact
  def __call__(self, x):
    x = nn.RNN(nn.OptimizedLSTMCell(self.units, name='cell'))(x)
    return nn.Dense(2, name='head')(x[:, -1])


def fused_lstm(params, x):
  """A cell with one kernel of four gates, [in, 4 h], scanned over time."""
  units = params['recurrent/kernel'].shape[0]
  zeros = jnp.zeros((x.shape[0], units))

  def step(carry, x):
    h, c = carry
    gates = x @ params['input/kernel'] + h @ params['recurrent/kernel']
    gates = gates + params['input/bias'][None]
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

  (h, _), _ = jax.lax.scan(step, (zeros, zeros), jnp.swapaxes(x, 0, 1))
  return h @ params['head/kernel'] + params['head/bias'][None]


class UNet(nn.Module):
  """Down, up, and skips that are concatenated; group norms."""

  features: int = 4

  @nn.compact
  def __call__(self, x):
    def block(x, features):
      x = nn.Conv(features, (3, 3))(x)
      return nn.silu(nn.GroupNorm(2)(x))

    skips = []
    for level in range(2):
      x = block(x, self.features * 2**level)
      skips.append(x)
      x = nn.max_pool(x, (2, 2), (2, 2))
    x = block(x, self.features * 4)
    for level in (1, 0):
      x = nn.ConvTranspose(self.features * 2**level, (2, 2), (2, 2))(x)
      x = block(jnp.concatenate([x, skips[level]], -1), self.features * 2**level)
    return nn.Conv(1, (1, 1))(x)


class Mixer(nn.Module):
  """MLPs over tokens and over channels, in turn."""

  width: int = 6

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(self.width, (4, 4), (4, 4), name='embed')(x)
    x = x.reshape(x.shape[0], -1, self.width)
    for i in range(2):
      y = jnp.swapaxes(nn.LayerNorm()(x), 1, 2)
      y = nn.Dense(x.shape[1])(nn.gelu(nn.Dense(5, name=f'tokens{i}')(y)))
      x = x + jnp.swapaxes(y, 1, 2)
      y = nn.LayerNorm()(x)
      x = x + nn.Dense(self.width)(nn.gelu(nn.Dense(7, name=f'mlp{i}')(y)))
    return nn.Dense(3)(nn.LayerNorm()(x).mean(1))


class Gnn(nn.Module):
  """Messages along edges, added where they arrive; edge features."""

  width: int = 6

  @nn.compact
  def __call__(self, nodes, edges, senders, receivers):
    x = nn.Dense(self.width, name='nodes')(nodes)
    e = nn.Dense(self.width, name='edges')(edges)
    for i in range(2):
      message = jnp.concatenate([x[senders], x[receivers], e], -1)
      message = nn.relu(nn.Dense(7, name=f'message{i}')(message))
      inbox = jax.ops.segment_sum(message, receivers, x.shape[0])
      y = jnp.concatenate([x, nn.Dense(self.width, name=f'inbox{i}')(inbox)], -1)
      x = x + nn.tanh(nn.Dense(self.width, name=f'update{i}')(y))
    return nn.Dense(2, name='head')(x.sum(0))
