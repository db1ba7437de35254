"""Whatever network is drawn, what is inferred never changes its function."""

import collections

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.symmetry import infer_cases
from wsjax.symmetry.inference import infer

TOKENS, BATCH = 4, 2
WIDTHS = (4, 6)  # A small pool: every new shape is compiled again.
ACTIVATIONS = {
  'relu': lambda x: jnp.maximum(x, 0.0),
  'leaky': lambda x: jnp.where(x > 0, x, 0.1 * x),
  'tanh': jnp.tanh,
  'sine': lambda x: jnp.sin(3.0 * x),
  'sigmoid': lambda x: 1 / (1 + jnp.exp(-x)),
  'linear': lambda x: x,
}
LAYERS = (
  'dense', 'dense', 'dense', 'shared', 'residual', 'layer_norm', 'group_norm',
  'batch_norm', 'concatenate', 'tokens', 'attention', 'gate', 'swap', 'skip',
  'gram', 'cumsum', 'double', 'positions', 'scan',
)  # fmt: skip
STEPS = st.lists(
  st.tuples(st.sampled_from(LAYERS), st.sampled_from(WIDTHS), st.sampled_from(sorted(ACTIVATIONS))),
  min_size=2,
  max_size=6,
)


class Net:
  """A random network: `run` it with weights, or with shapes to get them."""

  def __init__(self, steps):
    self.steps = steps
    self.shapes = {}
    self(None, jax.ShapeDtypeStruct((BATCH, TOKENS, 3), np.float32))

  def __call__(self, params, x):
    if params is None:  # Collects the shapes.
      self.shapes = collections.OrderedDict()
      jax.eval_shape(lambda x: self._forward(None, x), x)
      return None
    return self._forward(params, x)

  def _forward(self, params, x):
    def weight(name, *shape):
      if params is not None:
        return params[name]
      self.shapes[name] = jax.ShapeDtypeStruct(shape, np.float32)
      return jnp.zeros(shape)

    def dense(name, x, width):
      bias = weight(f'{name}/bias', width)[None, None]
      return x @ weight(f'{name}/kernel', x.shape[-1], width) + bias

    kept = x = dense('first', x, WIDTHS[0])
    for i, (layer, width, activation) in enumerate(self.steps):
      act = ACTIVATIONS[activation]
      fn = getattr(self, f'_{layer}')
      y = fn(f'{i}{layer}', x, kept, width, act, dense, weight)
      kept, x = x, y
    return dense('last', x.mean(1, keepdims=True), 2)

  def _dense(self, name, x, kept, width, act, dense, weight):
    return act(dense(name, x, width))

  def _shared(self, name, x, kept, width, act, dense, weight):
    kernel = weight(f'shared{x.shape[-1]}', x.shape[-1], x.shape[-1])
    return act(x @ kernel)

  def _residual(self, name, x, kept, width, act, dense, weight):
    return x + dense(f'{name}b', act(dense(name, x, width)), x.shape[-1])

  def _layer_norm(self, name, x, kept, width, act, dense, weight):
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)
    return x * weight(f'{name}/scale', x.shape[-1])[None, None]

  def _group_norm(self, name, x, kept, width, act, dense, weight):
    y = x.reshape(*x.shape[:2], 2, -1)
    y = y / jnp.sqrt((y**2).mean((1, 3), keepdims=True) + 1e-3)
    return y.reshape(x.shape)

  def _batch_norm(self, name, x, kept, width, act, dense, weight):
    mean, var = (weight(f'{name}/{k}', x.shape[-1]) for k in ('mean', 'var'))
    x = (x - mean[None, None]) / jnp.sqrt(var**2 + 1e-3)[None, None]
    return act(x * weight(f'{name}/scale', x.shape[-1])[None, None])

  def _concatenate(self, name, x, kept, width, act, dense, weight):
    return act(dense(name, jnp.concatenate([x, kept], -1), width))

  def _tokens(self, name, x, kept, width, act, dense, weight):
    y = act(dense(name, jnp.swapaxes(x, 1, 2), width))
    return jnp.swapaxes(dense(f'{name}b', y, TOKENS), 1, 2)

  def _attention(self, name, x, kept, width, act, dense, weight):
    q, k, v = (dense(f'{name}{part}', x, 6).reshape(*x.shape[:2], 2, 3) for part in 'qkv')
    scores = jnp.exp(jnp.tanh(jnp.einsum('bqhd,bkhd->bhqk', q, k)))
    scores = scores / scores.sum(-1, keepdims=True)
    y = jnp.einsum('bhqk,bkhd->bqhd', scores, v).reshape(*x.shape[:2], 6)
    return x + dense(f'{name}o', y, x.shape[-1])

  def _gate(self, name, x, kept, width, act, dense, weight):
    one, two = jnp.split(dense(name, x, 2 * width), 2, -1)
    return act(one) * two

  def _swap(self, name, x, kept, width, act, dense, weight):
    half = x.shape[-1] // 2
    return act(jnp.concatenate([x[..., half:], x[..., :half]], -1))

  def _skip(self, name, x, kept, width, act, dense, weight):
    return x + kept if x.shape == kept.shape else x

  def _gram(self, name, x, kept, width, act, dense, weight):
    return x @ jnp.einsum('bti,btj->bij', x, x) / 10

  def _cumsum(self, name, x, kept, width, act, dense, weight):
    return jnp.cumsum(x, -1) if width == 4 else jnp.cumsum(x, 1)

  def _double(self, name, x, kept, width, act, dense, weight):
    flat = x.reshape(x.shape[0], 1, -1)
    return act(dense(name, flat, TOKENS * width)).reshape(x.shape[0], TOKENS, width)

  def _positions(self, name, x, kept, width, act, dense, weight):
    if width == 4:
      return x + weight(name, TOKENS, x.shape[-1])[None]
    return x + jnp.arange(x.shape[-1], dtype=x.dtype)[None, None]

  def _scan(self, name, x, kept, width, act, dense, weight):
    kernel = weight(f'{name}/recurrent', width, width)
    y = dense(name, x, width)

    def step(h, y):
      h = act(y + h @ kernel)
      return h, h

    h = jnp.zeros((x.shape[0], width))
    return jnp.swapaxes(jax.lax.scan(step, h, jnp.swapaxes(y, 0, 1))[1], 0, 1)


def change(net, spec, seed):
  """How much a random element changes the outputs, relative to them."""
  with jax.enable_x64(True):  # Deep random networks are chaotic in float32.
    return _change(net, spec, seed)


def _change(net, spec, seed):
  rng = np.random.default_rng(seed)
  params = {
    path: jnp.asarray(rng.normal(size=leaf.shape) / max(np.prod(leaf.shape[:-1]), 1) ** 0.5)
    for path, leaf in net.shapes.items()
  }
  x = rng.normal(size=(BATCH, TOKENS, 3))
  g = spec.random(jax.random.key(seed), max_log_scale=0.5)
  moved = infer.act(g, params, spec)
  one, two = net(params, x), net(moved, x)
  return float(jnp.abs(one - two).max() / (jnp.abs(one).max() + 1e-9))


@hypothesis.given(steps=STEPS, seed=st.integers(0, 99))
@hypothesis.settings(max_examples=4)
def test_no_inferred_element_changes_a_random_network(steps, seed):
  _assert_sound(steps, seed)


@pytest.mark.slow
@hypothesis.given(steps=STEPS, seed=st.integers(0, 99))
@hypothesis.settings(max_examples=300)
def test_no_inferred_element_changes_many_random_networks(steps, seed):
  _assert_sound(steps, seed)


def _assert_sound(steps, seed):
  net = Net(steps)
  inferred = infer.infer(
    net, dict(net.shapes), jax.ShapeDtypeStruct((BATCH, TOKENS, 3), np.float32)
  )
  assert not inferred.report.unsupported
  assert change(net, inferred.spec, seed) < 1e-5


@pytest.mark.slow
def test_each_layer_alone_leaves_something_to_move():
  for layer in sorted(set(LAYERS) - {'cumsum', 'positions'}):
    net = Net([('dense', 6, 'tanh'), (layer, 6, 'tanh'), ('dense', 6, 'relu')])
    inferred = infer.infer(net, dict(net.shapes), infer_cases.normal(BATCH, TOKENS, 3))
    sizes = [group.size for group in inferred.spec.groups]
    assert sum(sizes) >= 8, (layer, sizes)
    assert change(net, inferred.spec, 0) < 1e-5, layer
