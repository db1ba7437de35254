"""Functions and models with the symmetries that a reader finds in them.

Every entry is (function, shapes of parameters, shapes of inputs, symmetries): '8 4x3' are
permutations of 8 units, and of 4 for each of 3 others; behind '|' stand other kinds, as 'scale8',
'sign8', 'phase8', 'gl3x2' and 'o5'.
"""

import collections

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

relu, silu, softmax, sigmoid = jax.nn.relu, jax.nn.silu, jax.nn.softmax, jax.nn.sigmoid
SHAPE = jax.ShapeDtypeStruct
X = [(4, 3)]  # Examples of three features.
T = [(2, 5, 3)]  # Series.
IMAGE = [(2, 8, 8, 3)]
UNITS = {'w': (3, 8), 'b': (8,), 'v': (8, 2)}
CASES = {}


def case(name, expected, inputs, **shapes):
  """Registers a function fn(p, *inputs)."""

  def register(fn):
    assert name not in CASES, name
    CASES[name] = lambda: (fn, shapes, inputs, expected)
    return fn

  return register


def _units(name, expected, between):
  """A function of [4, 8] units between two dense layers."""
  fn = lambda p, x: between(x @ p['w'] + p['b']) @ p['v']  # noqa: E731
  CASES[name] = lambda: (fn, UNITS, X, expected)


LEAKY = 'scale8'
ODD = 'sign8'
for _name, _kinds, _act in [
  ('relu', LEAKY, relu),
  ('leaky_relu', LEAKY, jax.nn.leaky_relu),
  ('abs', 'scale8 sign8', jnp.abs),
  ('maximum', LEAKY, lambda h: jnp.maximum(h, 0.3 * h)),
  ('identity', 'gl8', lambda h: h),
  ('where', LEAKY, lambda h: jnp.where(h > 0, h, 0.1 * h)),
  ('tanh', ODD, jnp.tanh),
  ('sin', 'sign8 phase8', jnp.sin),
  ('sin30', 'sign8 phase8', lambda h: jnp.sin(30 * h)),
  ('cos', 'sign8', jnp.cos),
  ('gelu', '', jax.nn.gelu),
  ('silu', '', silu),
  ('exp', '', jnp.exp),
  ('gelu_tanh', '', lambda h: jax.nn.gelu(h, approximate=True)),
  ('sigmoid', '', sigmoid),
  ('softplus', '', jax.nn.softplus),
  ('elu', '', jax.nn.elu),
  ('selu', '', jax.nn.selu),
  ('celu', '', jax.nn.celu),
  ('mish', '', jax.nn.mish),
  ('relu6', '', jax.nn.relu6),
  ('hard_tanh', ODD, lambda h: jnp.sign(h) * jnp.minimum(jnp.abs(h), 1)),
  ('erf', ODD, jax.lax.erf),
  ('hard_sigmoid', '', jax.nn.hard_sigmoid),
  ('soft_sign', ODD, jax.nn.soft_sign),
  ('square', 'scale8 sign8', jnp.square),
  ('cube', 'scale8 sign8', lambda h: h**3),
  ('relu_squared', LEAKY, lambda h: relu(h) ** 2),
  ('sinh', ODD, jnp.sinh),
  ('gaussian', 'sign8', lambda h: jnp.exp(-(h * h))),
  ('arctan', ODD, jnp.arctan),
  ('cbrt', 'scale8 sign8', jnp.cbrt),
  ('sqrt_abs', 'scale8 sign8', lambda h: jnp.sqrt(jnp.abs(h))),
  ('log_sigmoid', '', jax.nn.log_sigmoid),
  ('log1p_abs', 'sign8', lambda h: jnp.log1p(jnp.abs(h))),
  ('softmax', '', lambda h: softmax(h)),
  ('log_softmax', '', lambda h: jax.nn.log_softmax(h)),
  ('standardize', '', lambda h: jax.nn.standardize(h)),
  ('sinc', 'sign8', jnp.sinc),
  ('rms', 'o8', lambda h: h / jnp.sqrt((h * h).mean(-1, keepdims=True) + 0.1)),
  ('rms_relu', '', lambda h: relu(h / jnp.sqrt((h * h).mean(-1, keepdims=True) + 0.1))),
  ('over_examples', 'scale8', lambda h: relu(h / jnp.sqrt((h * h).mean(0, keepdims=True)))),
  ('logsumexp', '', lambda h: h - jax.nn.logsumexp(h, -1, keepdims=True)),
  ('max_over_examples', 'scale8', lambda h: h - h.max(0, keepdims=True)),
  ('cumsum', 'gl8', lambda h: jnp.cumsum(h, 0)),
  ('cummax', 'scale8', lambda h: jax.lax.cummax(h, 0)),
  ('flip', 'gl8', lambda h: jnp.flip(h, 0)),
  ('roll', 'gl8', lambda h: jnp.roll(h, 1, 0)),
  ('sort', 'scale8', lambda h: jnp.sort(h, 0)),
  ('prod', '', lambda h: sigmoid(h).prod(0)),
  ('top_k', '', lambda h: jnp.swapaxes(jax.lax.top_k(jnp.swapaxes(sigmoid(h), 0, 1), 2)[0], 0, 1)),
  ('argmax', '', lambda h: jnp.argmax(h, 0)[None] * sigmoid(h)),
  ('index', '', lambda h: sigmoid(h)[2]),
  ('take', '', lambda h: sigmoid(h)[np.array([0, 2, 1])]),
  ('stop', 'gl8', jax.lax.stop_gradient),
  ('scatter', '', lambda h: sigmoid(h).at[1].set(0.0)),
  ('remat', ODD, jax.checkpoint(jnp.tanh)),
  ('scatter_add', 'gl8', lambda h: jnp.zeros((2, 8)).at[np.array([0, 1, 1, 0])].add(h)),
  ('segment_sum', 'gl8', lambda h: jax.ops.segment_sum(h, np.array([0, 1, 1, 0]), 2)),
  ('segment_max', 'scale8', lambda h: jax.ops.segment_max(h, np.array([0, 1, 1, 0]), 2)),
  ('repeat', ODD, lambda h: jnp.repeat(jnp.tanh(h), 2, 0)),
  ('tile', ODD, lambda h: jnp.tile(jnp.tanh(h), (2, 1))),
  ('reshape', ODD, lambda h: jnp.tanh(h).reshape(2, 2, 8)),
  ('pad', ODD, lambda h: jnp.pad(jnp.tanh(h), ((1, 1), (0, 0)))),
  ('stack', ODD, lambda h: jnp.stack([jnp.tanh(h), h])),
  ('grad', ODD, jax.grad(lambda h: jnp.log(jnp.cosh(h)).sum())),
  ('jvp', 'sign8', lambda h: jax.jvp(jnp.tanh, (h,), (jnp.ones_like(h),))[1]),
  ('vmap', LEAKY, jax.vmap(relu)),
  ('vmap_units', LEAKY, jax.vmap(relu, 1, 1)),
  ('jit', ODD, jax.jit(jnp.tanh)),
  ('scan', ODD, lambda h: jax.lax.scan(lambda c, u: (jnp.tanh(c + u),) * 2, jnp.zeros(8), h)[1]),
  ('while', ODD, lambda h: jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h), h)),
  ('cond', LEAKY, lambda h: jax.lax.cond((h * 0).sum() > 1, relu, lambda h: h, h)),
  ('map', LEAKY, lambda h: jax.lax.map(relu, h)),
  ('associative_scan', 'gl8', lambda h: jax.lax.associative_scan(jnp.add, h)),
  ('complex', 'scale8 sign8', lambda h: jnp.abs(h * (1 + 2j))),
  ('fft', 'gl8', lambda h: jnp.fft.fft(h, axis=0).real),
  ('clip', '', lambda h: jnp.clip(h, 0, 1)),
  ('nan_to_num', '', lambda h: jnp.nan_to_num(sigmoid(h))),
  ('round', 'sign8', jnp.round),
  ('floor', '', jnp.floor),
  ('median', '', lambda h: sigmoid(jnp.median(h, 0))[None]),
  ('expand', ODD, lambda h: jnp.tanh(h[:, None, :])),
  ('einsum', 'o8', lambda h: jnp.einsum('ai,bi->ab', h, h) @ h),
]:
  _units(_name, f'8 | {_kinds}', _act)

# Units on parts of axes.


@case('concat_inputs', '8 | scale8', X, a=(3, 8), c=(11, 2))
def _(p, x):
  return jnp.concatenate([x, relu(x @ p['a'])], -1) @ p['c']


@case('two_towers', '8 8 6 | scale8 sign8 scale6', X, a=(3, 8), b=(3, 8), c=(16, 6), d=(6, 2))
def _(p, x):
  return relu(jnp.concatenate([relu(x @ p['a']), jnp.tanh(x @ p['b'])], -1) @ p['c']) @ p['d']


@case('dense_net', '8 4 4 | scale8 scale4 scale4', X, a=(3, 8), b=(8, 4), c=(12, 4), d=(16, 2))
def _(p, x):
  h = relu(x @ p['a'])
  h = jnp.concatenate([h, relu(h @ p['b'])], -1)
  return jnp.concatenate([h, relu(h @ p['c'])], -1) @ p['d']


@case('split', '6 6 | scale6 sign6', X, w=(3, 12), b=(12,), u=(6, 2), v=(6, 2))
def _(p, x):
  one, two = jnp.split(x @ p['w'] + p['b'], 2, -1)
  return relu(one) @ p['u'] + jnp.tanh(two) @ p['v']


@case('split_unequal', '5 7', X, w=(3, 12), u=(5, 2), v=(7, 2))
def _(p, x):
  one, two = jnp.split(x @ p['w'], [5], -1)
  return sigmoid(one) @ p['u'] + jnp.tanh(two) @ p['v']


@case('overlapping_parts', '', X, w=(3, 8), u=(4, 2), v=(4, 2))
def _(p, x):
  h = (x @ p['w']).reshape(4, 2, 4)
  one, two = jnp.split(h, 2, -1)
  return sigmoid(h[:, 0]) @ p['u'] + jnp.tanh(one * two).reshape(4, 4) @ p['v']


@case('swiglu_fused', '6 | scale6 sign6', X, w=(3, 12), v=(6, 2))
def _(p, x):
  gate, up = jnp.split(x @ p['w'], 2, -1)
  return (silu(gate) * up) @ p['v']


@case('swiglu', '6 | scale6 sign6', X, g=(3, 6), u=(3, 6), v=(6, 2))
def _(p, x):
  return (silu(x @ p['g']) * (x @ p['u'])) @ p['v']


@case('crelu', '6 | scale6 sign6', X, w=(3, 6), v=(12, 2))
def _(p, x):
  h = x @ p['w']
  return jnp.concatenate([relu(h), relu(-h)], -1) @ p['v']


@case('maxout', '6 2x6 | scale6', X, w=(3, 6, 2), v=(6, 2))
def _(p, x):
  return jnp.einsum('bi,ihk->bhk', x, p['w']).max(-1) @ p['v']


@case('fourier', '6', X, w=(3, 6), v=(12, 2))
def _(p, x):
  h = x @ p['w']
  return jnp.concatenate([jnp.sin(h), jnp.cos(h)], -1) @ p['v']


@case('slices', '3 5', X, w=(3, 8), u=(3, 2), v=(5, 2))
def _(p, x):
  h = sigmoid(x @ p['w'])
  return h[:, :3] @ p['u'] + h[:, 3:] @ p['v']


@case('pad_units', '5', X, w=(3, 5), v=(8, 2))
def _(p, x):
  return jnp.pad(sigmoid(x @ p['w']), ((0, 0), (1, 2))) @ p['v']


@case('coupling', '5 5', [(4, 6)], a=(3, 5), b=(5, 6), c=(3, 5), d=(5, 6))
def _(p, x):
  one, two = jnp.split(x, 2, -1)
  for w, v in ('ab', 'cd'):
    scale, shift = jnp.split(jnp.tanh(one @ p[w]) @ p[v], 2, -1)
    one, two = two * jnp.exp(scale) + shift, one
  return jnp.concatenate([one, two], -1)


@case('group_norm', '4x2 2 | ', X, w=(3, 8), g=(8,), b=(8,), v=(8, 2))
def _(p, x):
  h = jax.nn.standardize((x @ p['w']).reshape(-1, 2, 4), -1).reshape(-1, 8)
  return silu(h * p['g'] + p['b']) @ p['v']


@case('outer_product', '4 5 | gl4 gl5', X, a=(3, 4), b=(3, 5), v=(4, 5, 2))
def _(p, x):
  return jnp.einsum('bi,bj,ijk->bk', x @ p['a'], x @ p['b'], p['v'])


@case('bilinear', '5 | scale5 sign5', X, a=(3, 5), b=(3, 5), v=(5, 2))
def _(p, x):
  return ((x @ p['a']) * (x @ p['b'])) @ p['v']


@case('stacked_layers', '6 5x3', X, i=(3, 6), w=(3, 6, 5), v=(3, 5, 6), o=(6, 2))
def _(p, x):
  layer = lambda h, wv: (h + silu(h @ wv[0]) @ wv[1], None)  # noqa: E731
  return jax.lax.scan(layer, jnp.tanh(x @ p['i']), (p['w'], p['v']))[0] @ p['o']


@case('stacked_outputs', '5x3', X, w=(3, 3, 5), v=(3, 5, 2))
def _(p, x):
  return jax.lax.scan(lambda c, wv: (c, silu(x @ wv[0]) @ wv[1]), 0.0, (p['w'], p['v']))[1].sum(0)


@case('stacked_readers', '5x3', X, w=(3, 3, 5), v=(3, 5, 2))
def _(p, x):
  h = jax.lax.scan(lambda c, w: (c, silu(x @ w)), 0.0, p['w'])[1]
  return jnp.einsum('lbh,lho->bo', h, p['v'])


@case('recurrent_depth', '6', X, i=(3, 6), w=(3, 6, 6), o=(6, 2))
def _(p, x):
  return jax.lax.scan(lambda h, w: (silu(h @ w), None), x @ p['i'], p['w'])[0] @ p['o']


@case('nested_stacks', '6 5x2x3', X, i=(3, 6), w=(2, 3, 6, 5), v=(2, 3, 5, 6), o=(6, 2))
def _(p, x):
  layer = lambda h, wv: (h + silu(h @ wv[0]) @ wv[1], None)  # noqa: E731
  block = lambda h, wv: jax.lax.scan(layer, h, wv)  # noqa: E731
  return jax.lax.scan(block, jnp.tanh(x @ p['i']), (p['w'], p['v']))[0] @ p['o']


@case('ensemble', '4 6x4', X, w=(4, 3, 6), b=(4, 6), v=(4, 6, 2))
def _(p, x):
  return jax.vmap(lambda p: silu(x @ p['w'] + p['b']) @ p['v'])(p).mean(0)


@case('ensemble_apart', '6x4', X, w=(4, 3, 6), v=(4, 6, 2))
def _(p, x):
  return jax.vmap(lambda p: silu(x @ p['w']) @ p['v'])(p)


@case('batch_ensemble', '6', X, w=(3, 6), r=(4, 3), s=(4, 6), v=(6, 2))
def _(p, x):
  return jax.vmap(lambda r, s: silu((x * r) @ p['w'] * s) @ p['v'])(p['r'], p['s'])


@case('soft_experts', '4 6x4', X, g=(3, 4), w=(4, 3, 6), v=(4, 6, 2))
def _(p, x):
  h = jnp.einsum('beh,eho->beo', silu(jnp.einsum('bi,eih->beh', x, p['w'])), p['v'])
  return jnp.einsum('be,beo->bo', softmax(x @ p['g']), h)


@case('top_k_experts', '6x4', X, g=(3, 4), w=(4, 3, 6), v=(4, 6, 2))
def _(p, x):
  gate, index = jax.lax.top_k(softmax(x @ p['g']), 2)
  mask = (jax.nn.one_hot(index, 4) * gate[..., None]).sum(1)
  h = jnp.einsum('beh,eho->beo', silu(jnp.einsum('bi,eih->beh', x, p['w'])), p['v'])
  return jnp.einsum('be,beo->bo', mask, h)


@case('switch', '6x4', X, g=(3, 4), w=(4, 3, 6), v=(4, 6, 2))
def _(p, x):
  index = jnp.argmax(x @ p['g'], -1)
  h = jnp.einsum('bi,bih->bh', x, p['w'][index])
  return jnp.einsum('bh,bho->bo', silu(h), p['v'][index])


@case('ragged_experts', '6 5x4 | scale5x4 sign5x4', T, i=(3, 6), r=(6, 4), g=(4, 6, 5), u=(4, 6, 5),
      d=(4, 5, 6), o=(6, 2))  # fmt: skip
def _(p, x):
  x = silu(x @ p['i']).reshape(-1, 6)
  expert = jnp.argmax(x @ p['r'], -1)
  order, sizes = jnp.argsort(expert), jnp.bincount(expert, length=4)
  many = lambda x, w: jax.lax.ragged_dot(x, w, sizes)  # noqa: E731
  h = silu(many(x[order], p['g'])) * many(x[order], p['u'])
  return (x + jnp.zeros_like(x).at[order].set(many(h, p['d']))) @ p['o']


@case('expert_of_each', '6x3', X, w=(3, 3, 6), b=(3, 6), v=(3, 6, 2))
def _(p, x):
  def one(x):
    w, b, v = (jax.lax.dynamic_index_in_dim(p[n], jnp.argmax(x), 0, False) for n in 'wbv')
    return silu(x @ w + b) @ v

  return jax.vmap(one)(x)


@case('expert_of_all', '6x3 | gl4x3', X, w=(3, 3, 6), v=(3, 6, 2), a=(3, 3, 4), b=(3, 4, 2))
def _(p, x):
  i = jnp.argmax(x.sum(0))
  return silu(x @ p['w'][i]) @ p['v'][i] + x @ p['a'][i] @ p['b'][i]


@case(
  'switch_functions', '6 5 4 | scale5 sign4', X, i=(3, 6), a=(6, 5), b=(5, 2), c=(6, 4), d=(4, 2)
)
def _(p, x):
  branches = [lambda h: relu(h @ p['a']) @ p['b'], lambda h: jnp.tanh(h @ p['c']) @ p['d']]
  return jax.lax.switch((x[0, 0] > 0).astype(int), branches, silu(x @ p['i']))


def _attend(q, k, v):
  return jnp.einsum('bhts,bshk->bthk', softmax(jnp.einsum('bthk,bshk->bhts', q, k)), v)


@case('attention', '2 | gl4x2 gl5x2', T, q=(3, 2, 4), k=(3, 2, 4), v=(3, 2, 5), o=(2, 5, 2))
def _(p, x):
  q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
  return jnp.einsum('bthk,hkd->btd', _attend(q, k, v), p['o'])


@case('multi_query', '2 | gl5', T, q=(3, 2, 4), k=(3, 4), v=(3, 5), o=(2, 5, 2))
def _(p, x):
  q = jnp.einsum('btd,dhk->bthk', x, p['q'])
  a = softmax(jnp.einsum('bthk,bsk->bhts', q, x @ p['k']))
  return jnp.einsum('bhts,bsk,hkd->btd', a, x @ p['v'], p['o'])


@case('grouped_query', '2 3x2', T, q=(3, 2, 3, 4), k=(3, 2, 4), v=(3, 2, 5), o=(2, 3, 5, 2))
def _(p, x):
  q = jnp.einsum('btd,dghk->btghk', x, p['q'])
  k, v = (jnp.einsum('btd,dgk->btgk', x, p[n]) for n in 'kv')
  a = softmax(jnp.einsum('btghk,bsgk->bghts', q, k))
  return jnp.einsum('bghts,bsgk,ghkd->btd', a, v, p['o'])


@case('repeated_kv', '2 3x2', T, q=(3, 24), k=(3, 8), v=(3, 8), o=(24, 2))
def _(p, x):
  q = (x @ p['q']).reshape(2, 5, 6, 4)
  k, v = (jnp.repeat((x @ p[n]).reshape(2, 5, 2, 4), 3, 2) for n in 'kv')
  return _attend(q, k, v).reshape(2, 5, 24) @ p['o']


@case('fused_qkv', '2 | gl4x2', T, w=(3, 24), o=(8, 2))
def _(p, x):
  q, k, v = (z.reshape(2, 5, 2, 4) for z in jnp.split(x @ p['w'], 3, -1))
  return _attend(q, k, v).reshape(2, 5, 8) @ p['o']


@case('qk_norm', '2 | gl5x2', T, q=(3, 2, 4), k=(3, 2, 4), v=(3, 2, 5), o=(2, 5, 2))
def _(p, x):
  q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
  q, k = (z / jnp.sqrt((z * z).mean(-1, keepdims=True) + 1e-3) for z in (q, k))
  return jnp.einsum('bthk,hkd->btd', _attend(q, k, v), p['o'])


def _rope(z):
  angle = jnp.arange(5.0)[:, None, None] * 0.1 ** jnp.arange(2)
  one, two = jnp.split(z, 2, -1)
  return jnp.concatenate([one * jnp.cos(angle) - two * jnp.sin(angle),
                          two * jnp.cos(angle) + one * jnp.sin(angle)], -1)  # fmt: skip


@case('rope', '2 | gl5x2 complex2x2x2', T, q=(3, 2, 4), k=(3, 2, 4), v=(3, 2, 5), o=(2, 5, 2))
def _(p, x):
  q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
  return jnp.einsum('bthk,hkd->btd', _attend(_rope(q), _rope(k), v), p['o'])


ANGLES = np.arange(5.0)[:, None] * 0.1 ** np.arange(2)
WAVES = np.concatenate([np.sin(ANGLES), np.cos(ANGLES)], -1)


def _turned(z):
  one, two = jnp.split(z, 2, -1)
  return jnp.concatenate([-two, one], -1)


def _neox(z):
  table = np.concatenate([np.tile(f(ANGLES), (1, 2))[:, None] for f in (np.sin, np.cos)], -1)
  sin, cos = jnp.split(jnp.asarray(table)[jnp.broadcast_to(jnp.arange(5), (2, 5))], 2, -1)
  return z * cos + _turned(z) * sin


def _gptj(z):
  sin, cos = (jnp.repeat(w[:, None], 2, -1) for w in jnp.split(jnp.asarray(WAVES), 2, -1))
  return z * cos + jnp.stack([-z[..., 1::2], z[..., ::2]], -1).reshape(z.shape) * sin


def _complex_rope(z):
  pairs = z.reshape(*z.shape[:-1], -1, 2)
  pairs = jax.lax.complex(pairs[..., 0], pairs[..., 1])
  pairs = pairs * jnp.exp(1j * jnp.asarray(ANGLES))[:, None]
  return jnp.stack([pairs.real, pairs.imag], -1).reshape(z.shape)


def _plus_rope(z):
  pairs = (z[..., ::2] + 1j * z[..., 1::2]) * jnp.exp(1j * jnp.asarray(ANGLES))[:, None]
  return jnp.stack([pairs.real, pairs.imag], -1).reshape(z.shape)


def _unlike_angles(z):
  angle = jnp.asarray(np.arange(5.0)[:, None] * 0.5 ** np.arange(4))[:, None]
  return z * jnp.cos(angle) + _turned(z) * jnp.sin(angle)


def _reflected(z):
  one, two = jnp.split(z, 2, -1)
  sin, cos = jnp.split(jnp.asarray(WAVES)[:, None], 2, -1)
  return jnp.concatenate([one * cos + two * sin, two * cos + one * sin], -1)


def _turned_ones(z):
  return _rope(z) * _rope(jnp.ones_like(z))


def _rope_of_head(z):
  sin, cos = (jnp.tile(w, (1, 2)) for w in jnp.split(jnp.asarray(WAVES), 2, -1))
  return z * cos + _turned(z) * sin


for _name, _kinds, _one, _two in [
  ('each_head', 'complex2x2x2', *[jax.vmap(jax.vmap(_rope_of_head, 1, 1))] * 2),
  ('neox', 'complex2x2x2', _neox, _neox),
  ('gptj', 'complex2x2x2', _gptj, _gptj),
  ('complex', 'complex2x2x2', _complex_rope, _complex_rope),
  ('plus', 'complex2x2x2', _plus_rope, _plus_rope),
  ('mixed_layouts', '', _neox, _gptj),
  ('unlike_angles', '', _unlike_angles, _unlike_angles),
  ('reflected', '', _reflected, _reflected),
  ('ones', '', _turned_ones, _turned_ones),
  ('relu', '', lambda z: _rope(relu(z)), _rope),
]:

  @case(f'rope_{_name}', f'2 | gl5x2 {_kinds}', T, q=(3, 2, 4), k=(3, 2, 4), v=(3, 2, 5),
        o=(2, 5, 2))  # fmt: skip
  def _(p, x, one=_one, two=_two):
    q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
    return jnp.einsum('bthk,hkd->btd', _attend(one(q), two(k), v), p['o'])


@case('rope_qk_norm', '2 | gl5x2 rotation2x2x2', T, q=(3, 2, 4), k=(3, 2, 4), v=(3, 2, 5),
      o=(2, 5, 2))  # fmt: skip
def _(p, x):
  q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
  q, k = (z / jnp.sqrt((z * z).mean(-1, keepdims=True) + 1e-3) for z in (q, k))
  return jnp.einsum('bthk,hkd->btd', _attend(_rope(q), _rope(k), v), p['o'])


@case('rope_shared', '2 | rotation2x2x2 gl4x2', T, q=(3, 8), b=(8,), v=(3, 8), o=(8, 2))
def _(p, x):
  q, v = ((x @ p[n]).reshape(2, 5, 2, 4) for n in 'qv')
  q = _rope(q + p['b'].reshape(2, 4))
  return _attend(q, q, v).reshape(2, 5, 8) @ p['o']


@case('rope_multi_query', '2 | gl5 complex2x2', T, q=(3, 2, 4), k=(3, 4), v=(3, 5), o=(2, 5, 2))
def _(p, x):
  q = _rope(jnp.einsum('btd,dhk->bthk', x, p['q']))
  k = _rope((x @ p['k'])[:, :, None])[:, :, 0]
  a = softmax(jnp.einsum('bthk,bsk->bhts', q, k))
  return jnp.einsum('bhts,bsk,hkd->btd', a, x @ p['v'], p['o'])


@case('rope_fused', '2 | gl4x2 complex2x2x2', T, w=(3, 24), b=(24,), o=(8, 2))
def _(p, x):
  q, k, v = (z.reshape(2, 5, 2, 4) for z in jnp.split(x @ p['w'] + p['b'], 3, -1))
  return _attend(_neox(q), _neox(k), v).reshape(2, 5, 8) @ p['o']


@case('rope_gptj_dense', '2 2x2 6x2 | gl6x2 complex2x2x2 gl2x2', T, q=(3, 12), k=(3, 12),
      v=(3, 12), o=(12, 2))  # fmt: skip
def _(p, x):
  q, k, v = ((x @ p[n]).reshape(2, 5, 2, 6) for n in 'qkv')
  q, k = (jnp.concatenate([_gptj(z[..., :4]), z[..., 4:]], -1) for z in (q, k))
  return _attend(q, k, v).reshape(2, 5, 12) @ p['o']


@case('partial_rope_fused', '2 3x2 7x2 | gl7x2 complex2x2x2 gl3x2', T, w=(3, 42), b=(42,),
      o=(14, 2))  # fmt: skip
def _(p, x):
  q, k, v = (z.reshape(2, 5, 2, 7) for z in jnp.split(x @ p['w'] + p['b'], 3, -1))
  q, k = (jnp.concatenate([_rope(z[..., :4]), z[..., 4:]], -1) for z in (q, k))
  return _attend(q, k, v).reshape(2, 5, 14) @ p['o']


@case('partial_rope', '2 3x2 | gl5x2 gl3x2 complex2x2x2', T, q=(3, 2, 7), k=(3, 2, 7),
      v=(3, 2, 5), o=(2, 5, 2))  # fmt: skip
def _(p, x):
  q, k, v = (jnp.einsum('btd,dhk->bthk', x, p[n]) for n in 'qkv')
  q, k = (jnp.concatenate([_rope(z[..., :4]), z[..., 4:]], -1) for z in (q, k))
  return jnp.einsum('bthk,hkd->btd', _attend(q, k, v), p['o'])


@case('linear_attention', '4 5 | gl5', T, q=(3, 4), k=(3, 4), v=(3, 5), o=(5, 2))
def _(p, x):
  q, k = relu(x @ p['q']) + 1, relu(x @ p['k']) + 1
  return jnp.einsum('btk,bsk,bsv->btv', q, k, x @ p['v']) @ p['o']


@case('cross_attention', '4 5 | gl4 gl5', [*T, (2, 7, 6)], q=(3, 4), k=(6, 4), v=(6, 5), o=(5, 2))
def _(p, x, y):
  a = softmax(jnp.einsum('btk,bsk->bts', x @ p['q'], y @ p['k']))
  return a @ (y @ p['v']) @ p['o']


@case('llama', '6 2 2x2 8 | gl4x2 complex2x2x2 scale8 sign8', T, e=(3, 6), q=(6, 16),
      k=(6, 8), v=(6, 8), o=(16, 6), m=(6,), n=(6,), g=(6, 8), u=(6, 8), d=(8, 6), f=(6,),
      out=(6, 2))  # fmt: skip
def _(p, x):
  norm = lambda z, g: z / jnp.sqrt((z * z).mean(-1, keepdims=True) + 1e-3) * g  # noqa: E731
  x = x @ p['e']
  h = norm(x, p['m'])
  q = _rope((h @ p['q']).reshape(2, 5, 4, 4))
  k, v = ((h @ p[n]).reshape(2, 5, 2, 4) for n in 'kv')
  k, v = (jnp.repeat(z, 2, 2) for z in (_rope(k), v))
  x = x + _attend(q, k, v).reshape(2, 5, 16) @ p['o']
  h = norm(x, p['n'])
  x = x + (silu(h @ p['g']) * (h @ p['u'])) @ p['d']
  return norm(x, p['f']) @ p['out']


@case('parallel_block', '6 8 2', T, e=(3, 6), w=(6, 32), o=(8, 6), d=(8, 6), out=(6, 2))
def _(p, x):
  x = x @ p['e']
  qkv, up = jnp.split(jax.nn.standardize(x) @ p['w'], [24], -1)
  q, k, v = (z.reshape(2, 5, 2, 4) for z in jnp.split(qkv, 3, -1))
  x = x + _attend(q, k, v).reshape(2, 5, 8) @ p['o'] + jax.nn.gelu(up) @ p['d']
  return jax.nn.standardize(x) @ p['out']


@case('gpt', '6 2 8 | gl4x2', T, e=(3, 6), pos=(5, 6), w=(6, 24), c=(24,), o=(8, 6), u=(6, 8),
      b=(8,), d=(8, 6), g=(6,), s=(6,), out=(6, 2))  # fmt: skip
def _(p, x):
  x = x @ p['e'] + p['pos']
  q, k, v = jnp.split(jax.nn.standardize(x) @ p['w'] + p['c'], 3, -1)
  q, k, v = (z.reshape(2, 5, 2, 4) for z in (q, k, v))
  x = x + _attend(q, k, v).reshape(2, 5, 8) @ p['o']
  x = x + jax.nn.gelu(jax.nn.standardize(x) @ p['u'] + p['b']) @ p['d']
  return (jax.nn.standardize(x) * p['g'] + p['s']) @ p['out']


def _over_time(step, start, x):
  return jnp.swapaxes(jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))[1], 0, 1)


@case('rnn', '6 | sign6', T, w=(3, 6), u=(6, 6), v=(6, 2))
def _(p, x):
  step = lambda h, x: (jnp.tanh(x @ p['w'] + h @ p['u']),) * 2  # noqa: E731
  return _over_time(step, jnp.zeros((2, 6)), x) @ p['v']


@case('lstm', '6 | sign6', T, w=(3, 24), u=(6, 24), b=(24,), v=(6, 2))
def _(p, x):
  def step(hc, x):
    i, f, g, o = jnp.split(x @ p['w'] + hc[0] @ p['u'] + p['b'], 4, -1)
    c = sigmoid(f) * hc[1] + sigmoid(i) * jnp.tanh(g)
    h = sigmoid(o) * jnp.tanh(c)
    return (h, c), h

  return _over_time(step, (jnp.zeros((2, 6)),) * 2, x) @ p['v']


@case('lstm_concat', '6', T, w=(9, 24), b=(24,), v=(6, 2))
def _(p, x):
  def step(hc, x):
    i, g, f, o = jnp.split(jnp.concatenate([x, hc[0]], -1) @ p['w'] + p['b'], 4, -1)
    c = sigmoid(f + 1) * hc[1] + sigmoid(i) * jnp.tanh(g)
    h = sigmoid(o) * jnp.tanh(c)
    return (h, c), h

  return _over_time(step, (jnp.zeros((2, 6)),) * 2, x) @ p['v']


@case('deep_rnn', '6 4', T, a=(9, 6), b=(13, 4), v=(10, 2))
def _(p, x):
  def step(hs, x):
    one = jnp.tanh(jnp.concatenate([x, hs[0]], -1) @ p['a'])
    two = jnp.tanh(jnp.concatenate([one, x, hs[1]], -1) @ p['b'])
    return (one, two), jnp.concatenate([one, two], -1)

  return _over_time(step, (jnp.zeros((2, 6)), jnp.zeros((2, 4))), x) @ p['v']


@case('gru', '6 | sign6', T, w=(3, 18), u=(6, 18), v=(6, 2))
def _(p, x):
  def step(h, x):
    r, z, n = jnp.split(x @ p['w'], 3, -1)
    hr, hz, hn = jnp.split(h @ p['u'], 3, -1)
    z = sigmoid(z + hz)
    h = (1 - z) * jnp.tanh(n + sigmoid(r + hr) * hn) + z * h
    return h, h

  return _over_time(step, jnp.zeros((2, 6)), x) @ p['v']


def selective_scan(p, u, delta, b, c):
  """The state space of Mamba: inputs, steps [b, t, d], and maps [b, t, n] in and out."""

  def step(h, xs):
    u, delta, b, c = xs
    h = jnp.exp(-delta[..., None] * jnp.exp(p['a'])) * h + (delta * u)[..., None] * b[:, None]
    return h, jnp.einsum('bdn,bn->bd', h, c)

  xs = jax.tree.map(lambda z: jnp.swapaxes(z, 0, 1), (u, delta, b, c))
  return jnp.swapaxes(jax.lax.scan(step, jnp.zeros((2, 6, 4)), xs)[1], 0, 1) + p['d'] * u


@case('mamba', '6 4', T, w=(3, 6), z=(3, 6), s=(6, 2), dt=(2, 6), bc=(6, 8), a=(6, 4), d=(6,),
      o=(6, 2))  # fmt: skip
def _(p, x):
  u = silu(x @ p['w'])
  delta = jax.nn.softplus(u @ p['s'] @ p['dt'])
  b, c = jnp.split(u @ p['bc'], 2, -1)
  return (selective_scan(p, u, delta, b, c) * silu(x @ p['z'])) @ p['o']


@case('mamba_fused', '6 4', T, w=(3, 12), x=(6, 10), dt=(2, 6), a=(6, 4), d=(6,), o=(6, 2))
def _(p, x):
  u, gate = jnp.split(x @ p['w'], 2, -1)
  u = silu(u)
  delta, b, c = jnp.split(u @ p['x'], [2, 6], -1)
  delta = jax.nn.softplus(delta @ p['dt'])
  return (selective_scan(p, u, delta, b, c) * silu(gate)) @ p['o']


@case('lru', '4 | scale4 sign4', T, a=(4,), b=(3, 4), c=(4, 2))
def _(p, x):
  def join(one, two):
    return one[0] * two[0], two[0] * one[1] + two[1]

  a = jnp.broadcast_to(sigmoid(p['a']), (2, 5, 4))
  return jax.lax.associative_scan(join, (a, x @ p['b']), axis=1)[1] @ p['c']


@case('deep_sets', '6 5 | scale6 scale5', T, a=(3, 6), b=(6, 5), c=(5, 2))
def _(p, x):
  return relu(relu(x @ p['a']).mean(1) @ p['b']) @ p['c']


@case('point_net', '6 5', T, a=(3, 6), b=(12, 5), c=(5, 2))
def _(p, x):
  h = relu(x @ p['a'])
  top = jnp.broadcast_to(h.max(1, keepdims=True), h.shape)
  return relu(jnp.concatenate([h, top], -1) @ p['b']).max(1) @ p['c']


@case('channel_shuffle', '2 2x2x2 3x2', [(2, 4, 4, 4)], a=(1, 1, 2, 8), d=(3, 3, 1, 8),
      b=(1, 1, 4, 6), o=(6, 2))  # fmt: skip
def _(p, x):
  h = silu(_conv(x, p['a'], 2))
  h = h.reshape(2, 4, 4, 2, 4).swapaxes(-1, -2).reshape(h.shape)
  return silu(_conv(silu(_conv(h, p['d'], 8)), p['b'], 2)).mean((1, 2)) @ p['o']


@case('siamese', '6 5 | o5', X * 2, a=(3, 6), b=(6, 5))
def _(p, x, y):
  one, two = (jax.nn.gelu(z @ p['a']) @ p['b'] for z in (x, y))
  return ((one - two) ** 2).sum(-1)


@case('contrastive', '6 7 5', [*X, (4, 2)], a=(3, 6), b=(6, 5), c=(2, 7), d=(7, 5))
def _(p, x, y):
  one, two = jax.nn.gelu(x @ p['a']) @ p['b'], jax.nn.gelu(y @ p['c']) @ p['d']
  one, two = (z / jnp.linalg.norm(z, axis=-1, keepdims=True) for z in (one, two))
  return one @ two.T


@case('vae', '6 4 5', [*X, (4, 4)], e=(3, 6), m=(6, 8), d=(4, 5), o=(5, 3))
def _(p, x, noise):
  mean, log_var = jnp.split(relu(x @ p['e']) @ p['m'], 2, -1)
  z = mean + jnp.exp(0.5 * log_var) * noise.mean(-1, keepdims=True)
  return relu(z @ p['d']) @ p['o']


@case('tied_autoencoder', '6 | o6', X, w=(3, 6), b=(3,))
def _(p, x):
  return x @ p['w'] @ p['w'].T + p['b']


@case('tied_autoencoder_tanh', '6 | sign6', X, w=(3, 6), b=(6,))
def _(p, x):
  return jnp.tanh(x @ p['w'] + p['b']) @ p['w'].T


@case('siren', '6 5 | sign6 phase6 sign5 phase5', X, a=(3, 6), b=(6,), c=(6, 5), d=(5,), e=(5, 2))
def _(p, x):
  return jnp.sin(30 * (jnp.sin(30 * (x @ p['a'] + p['b'])) @ p['c'] + p['d'])) @ p['e']


@case('nerf', '8 7 5 | scale8 scale7 scale5', X * 2, a=(9, 8), b=(17, 7), s=(7, 1), r=(10, 5),
      o=(5, 3))  # fmt: skip
def _(p, x, view):
  x = jnp.concatenate([x, jnp.sin(x), jnp.cos(x)], -1)
  h = relu(jnp.concatenate([x, relu(x @ p['a'])], -1) @ p['b'])
  color = relu(jnp.concatenate([h, view], -1) @ p['r']) @ p['o']
  return jnp.concatenate([color, relu(h @ p['s'])], -1)


@case('film', '6 5', X * 2, w=(3, 6), c=(3, 5), d=(5, 12), v=(6, 2))
def _(p, x, y):
  gain, shift = jnp.split(relu(y @ p['c']) @ p['d'], 2, -1)
  return relu(x @ p['w'] * gain + shift) @ p['v']


@case('hyper_network', '5 6', X * 2, a=(3, 5), b=(5, 18), v=(6, 2))
def _(p, x, y):
  w = (relu(y @ p['a']) @ p['b']).reshape(4, 3, 6)
  return silu(jnp.einsum('bi,bih->bh', x, w)) @ p['v']


@case('kan', '6', X, w=(3, 6, 4), v=(6, 2, 4))
def _(p, x):
  basis = lambda z: jnp.exp(-((z[..., None] - jnp.arange(4.0)) ** 2))  # noqa: E731
  h = jnp.einsum('big,ihg->bh', basis(x), p['w'])
  return jnp.einsum('bhg,hog->bo', basis(h), p['v'])


@case('lora', '6 2 | gl2', X, w=(3, 6), a=(3, 2), b=(2, 6), v=(6, 2))
def _(p, x):
  return silu(x @ p['w'] + x @ p['a'] @ p['b']) @ p['v']


@case('highway', '6', X, i=(3, 6), w=(6, 6), t=(6, 6), o=(6, 2))
def _(p, x):
  x = x @ p['i']
  gate = sigmoid(x @ p['t'])
  return (gate * relu(x @ p['w']) + (1 - gate) * x) @ p['o']


@case('mixer', '6 4 7', T, e=(3, 6), a=(5, 4), b=(4, 5), c=(6, 7), d=(7, 6), o=(6, 2))
def _(p, x):
  x = x @ p['e']
  x = x + jnp.swapaxes(jax.nn.gelu(jnp.swapaxes(x, 1, 2) @ p['a']) @ p['b'], 1, 2)
  x = x + jax.nn.gelu(jax.nn.standardize(x) @ p['c']) @ p['d']
  return x.mean(1) @ p['o']


@case('gcn', '6 | scale6', [(5, 5), (5, 3)], a=(3, 6), b=(6, 2))
def _(p, a, x):
  return a @ (relu(a @ x @ p['a']) @ p['b'])


@case('graph_net', '6 4', [(5, 3), (7, 2)], n=(3, 6), e=(14, 4), u=(10, 6), o=(6, 2))
def _(p, nodes, edges):
  send, get = np.array([0, 1, 2, 3, 4, 0, 2]), np.array([1, 2, 3, 4, 0, 2, 4])
  h = jnp.tanh(nodes @ p['n'])
  m = relu(jnp.concatenate([edges, h[send], h[get]], -1) @ p['e'])
  got = jax.ops.segment_sum(m, get, 5)
  return jnp.tanh(jnp.concatenate([h, got], -1) @ p['u']) @ p['o']


@case('gat', '2 5x2', [(5, 3)], w=(3, 2, 5), a=(2, 5), b=(2, 5), o=(2, 5, 2))
def _(p, x):
  h = jnp.einsum('nd,dhk->nhk', x, p['w'])
  s, t = (jnp.einsum('nhk,hk->nh', h, p[n]) for n in 'ab')
  a = softmax(jax.nn.leaky_relu(s[:, None] + t[None]), 1)
  return jnp.einsum('nmh,mhk,hko->no', a, h, p['o'])


@case('embedding', '6', [], e=(9, 6), v=(6, 2))
def _(p):
  return sigmoid(p['e'][np.array([1, 4, 4])]) @ p['v']


@case('batch_norm_training', '6', X, w=(3, 6), g=(6,), b=(6,), v=(6, 2))
def _(p, x):
  return relu(jax.nn.standardize(x @ p['w'], 0) * p['g'] + p['b']) @ p['v']


@case('weight_norm', '6', X, w=(3, 6), g=(6,), v=(6, 2))
def _(p, x):
  w = p['w'] / jnp.linalg.norm(p['w'], axis=0) * p['g']
  return silu(x @ w) @ p['v']


@case('conv_pair', '6 4', IMAGE, a=(3, 3, 3, 6), b=(3, 3, 6, 4), o=(4, 2))
def _(p, x):
  return relu(_conv(relu(_conv(x, p['a'])), p['b'])).mean((1, 2)) @ p['o']


def _conv(x, w, groups=1, stride=1):
  return jax.lax.conv_general_dilated(
    x, w, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups)  # fmt: skip


@case('depthwise', '6 5 | scale6', IMAGE, a=(1, 1, 3, 6), d=(3, 3, 1, 6), b=(1, 1, 6, 5), o=(5, 2))
def _(p, x):
  h = relu(_conv(relu(_conv(x, p['a'])), p['d'], 6))
  return relu(_conv(h, p['b'])).mean((1, 2)) @ p['o']


@case('grouped_conv', '2 3x2', IMAGE, a=(1, 1, 3, 4), d=(3, 3, 2, 6), o=(6, 2))
def _(p, x):
  return silu(_conv(silu(_conv(x, p['a'])), p['d'], 2)).mean((1, 2)) @ p['o']


@case('squeeze_excite', '6 2', IMAGE, a=(3, 3, 3, 6), d=(6, 2), u=(2, 6), o=(6, 2))
def _(p, x):
  h = silu(_conv(x, p['a']))
  return (h * sigmoid(relu(h.mean((1, 2))) @ p['d'] @ p['u'])[:, None, None]).mean((1, 2)) @ p['o']


@case('max_pool', '6 | scale6', IMAGE, a=(3, 3, 3, 6), o=(6, 2))
def _(p, x):
  return nn.max_pool(relu(_conv(x, p['a'])), (2, 2), (2, 2)).mean((1, 2)) @ p['o']


@case('flatten', '6 | scale6', IMAGE, a=(3, 3, 3, 6), o=(384, 2))
def _(p, x):
  return relu(_conv(x, p['a'])).reshape(2, -1) @ p['o']


@case('u_net', '4 5 4', IMAGE, a=(3, 3, 3, 4), b=(3, 3, 4, 5), c=(3, 3, 9, 4), o=(1, 1, 4, 2))
def _(p, x):
  one = silu(_conv(x, p['a']))
  two = silu(_conv(one, p['b'], stride=2))
  two = jax.image.resize(two, (2, 8, 8, 5), 'nearest')
  return _conv(silu(_conv(jnp.concatenate([two, one], -1), p['c'])), p['o'])


@case('inception', '4 5', IMAGE, a=(1, 1, 3, 4), b=(3, 3, 3, 5), o=(9, 2))
def _(p, x):
  h = jnp.concatenate([silu(_conv(x, p['a'])), silu(_conv(x, p['b']))], -1)
  return h.mean((1, 2)) @ p['o']


@case('pixel_shuffle', '4', IMAGE, a=(3, 3, 3, 4), b=(3, 3, 4, 8))
def _(p, x):
  h = _conv(silu(_conv(x, p['a'])), p['b'])
  return h.reshape(2, 8, 8, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 16, 16, 2)


@case('fno', '6', T, i=(3, 6), w=(3, 6, 6), o=(6, 2))
def _(p, x):
  h = jnp.fft.rfft(x @ p['i'], axis=1)
  h = jnp.einsum('bti,tio->bto', h, p['w'])
  return silu(jnp.fft.irfft(h, n=5, axis=1)) @ p['o']


@case('psum', '6 | scale6', [(3, 4, 3)], w=(3, 6), v=(6, 2))
def _(p, x):
  one = lambda x: jax.lax.pmean(relu(x @ p['w']), 'batch') @ p['v']  # noqa: E731
  return jax.vmap(one, axis_name='batch')(x)


@case('derivatives', '6 5 | sign6 sign5', X, w=(3, 6), b=(6,), u=(6, 5), v=(5, 1))
def _(p, x):
  fn = lambda x: (jnp.tanh(jnp.tanh(x @ p['w'] + p['b']) @ p['u']) @ p['v'])[0]  # noqa: E731
  return jax.vmap(jax.grad(fn))(x), jax.vmap(lambda x: jnp.trace(jax.hessian(fn)(x)))(x)


@case('periodic_with_normals', '6 5 | sign6 phase6 scale5', X, w=(3, 6), b=(6,), u=(6, 5), v=(5, 1))
def _(p, x):
  fn = lambda x: (relu(jnp.sin(30 * (x @ p['w'] + p['b'])) @ p['u']) @ p['v'])[0]  # noqa: E731
  return jax.vmap(fn)(x), jax.vmap(jax.grad(fn))(x)


@case('kernels_of_examples', '6 5', [*IMAGE, (2, 7)], c=(1, 1, 3, 6), a=(7, 6), w=(3, 3, 6, 5),
      o=(5, 2))  # fmt: skip
def _(p, x, z):
  def one(h, style):
    w = p['w'] * style[:, None]
    return _conv(h[None], w / jnp.sqrt((w * w).sum((0, 1, 2)) + 0.1))[0]

  return silu(jax.vmap(one)(silu(_conv(x, p['c'])), z @ p['a'])).mean((1, 2)) @ p['o']


@case('members_of_images', '3 4x3 5x3', IMAGE, a=(3, 3, 3, 3, 4), b=(3, 3, 3, 4, 5), o=(3, 5, 2))
def _(p, x):
  member = lambda p: silu(_conv(silu(_conv(x, p['a'])), p['b'])).mean((1, 2)) @ p['o']  # noqa: E731
  return jax.vmap(member)(p).mean(0)


@case('over_devices', '6 | scale6', [(4, 3)], w=(3, 6), v=(6, 2))
def _(p, x):
  spec = jax.sharding.PartitionSpec
  fn = lambda w, v, x: jax.lax.psum(relu(x @ w) @ v, 'units')  # noqa: E731
  specs = spec(None, 'units'), spec('units', None), spec()
  mesh = jax.sharding.Mesh(jax.devices()[:1], ('units',))
  return jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=spec())(p['w'], p['v'], x)


@case('meta_step', '6', X, w=(3, 6), v=(6, 2))
def _(p, x):
  loss = lambda p: ((silu(x @ p['w']) @ p['v']) ** 2).sum()  # noqa: E731
  q = jax.tree.map(lambda p, g: p - 0.1 * g, p, jax.grad(loss)(p))
  return silu(x @ q['w']) @ q['v']


# Modules.


def _module(name, expected, inputs, make):
  def build():
    module = make()
    single = [SHAPE(shape, np.float32) for shape in inputs]
    params = jax.eval_shape(module.init, jax.random.key(0), *single)
    return module.apply, params, inputs, expected

  CASES[f'linen_{name}'] = build


def _define():
  from tests.reference import infer_models as models

  class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
      return x + nn.Dense(6)(nn.gelu(nn.Dense(5)(nn.LayerNorm()(x)))), None

  class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
      layers = nn.scan(Layer, variable_axes={'params': 0}, split_rngs={'params': True}, length=3)
      return nn.Dense(2)(layers()(nn.Dense(6)(x), None)[0])

  class Critics(nn.Module):
    @nn.compact
    def __call__(self, x):
      apart = {'variable_axes': {'params': 0}, 'split_rngs': {'params': True}, 'axis_size': 2}
      many = nn.vmap(nn.Dense, in_axes=None, **apart)
      h = nn.relu(many(6)(x))
      last = nn.vmap(nn.Dense, in_axes=0, **apart)
      return last(1)(h).min(0)

  class ConvNext(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Conv(6, (2, 2), strides=(2, 2))(x)
      y = nn.LayerNorm()(nn.Conv(6, (3, 3), feature_group_count=6)(x))
      y = nn.Dense(6)(nn.gelu(nn.Dense(8)(y)))
      x = x + self.param('gamma', nn.initializers.ones, (6,)) * y
      return nn.Dense(2)(x.mean((1, 2)))

  class Decoder(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Dense(6)(x)
      mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
      x = x + nn.SelfAttention(2)(nn.LayerNorm()(x), mask=mask)
      x = x + nn.Dense(6)(nn.gelu(nn.Dense(8)(nn.RMSNorm()(x))))
      return nn.Dense(2)(x)

  class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Dense(5)(nn.RNN(nn.OptimizedLSTMCell(5, param_dtype=x.dtype))(x))
      return nn.Dense(2)(nn.gelu(x))

  class Bidirectional(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Bidirectional(
        nn.RNN(nn.GRUCell(4, param_dtype=x.dtype)), nn.RNN(nn.GRUCell(5, param_dtype=x.dtype))
      )(x)
      return nn.Dense(2)(x)

  _module('scanned', '6 5x3', X, Scanned)
  _module('critics', '2 6x2 | scale6', X, Critics)
  _module('conv_next', '6 8', IMAGE, ConvNext)
  _module('decoder', '6 2 8 | gl3x2', T, Decoder)
  _module('bidirectional', '4 5', T, Bidirectional)
  _module('resnet_batch', '6 4 4', IMAGE, lambda: models.ResNet('batch'))
  _module('resnet_group', '2 3x2 2 2x2 2 2x2', IMAGE, lambda: models.ResNet('group'))
  _module('vit', '8 2 2 12 12 | gl4x2 gl4x2', IMAGE, models.ViT)
  _module('mixer', '6 5 7 5 7', IMAGE, models.Mixer)
  _module('lstm', '5 5', T, Recurrent)
  _module('mlp', '6 5', X, lambda: nn.Sequential([nn.Dense(6), nn.relu, nn.Dense(5), nn.tanh,
                                                 nn.Dense(2)]))  # fmt: skip


_define()


def _split(module_of, library):
  """A case of an NNX or Equinox module, applied to each example."""

  def build(name, expected, inputs, make):
    def made():
      if library == 'nnx':
        from flax import nnx

        graph, params = nnx.split(make())
        fn = lambda params, *args: nnx.merge(graph, params)(*args)  # noqa: E731
      else:
        import equinox

        params, static = equinox.partition(make(), equinox.is_array)
        fn = lambda params, x: jax.vmap(equinox.combine(params, static))(x)  # noqa: E731
      return fn, params, inputs, expected

    CASES[f'{library}_{name}'] = made

  module_of(build)


def _nnx(build):
  from flax import nnx

  rngs = lambda: nnx.Rngs(0)  # noqa: E731

  class Mlp(nnx.Module):
    def __init__(self):
      self.one, self.two = nnx.Linear(3, 6, rngs=rngs()), nnx.Linear(6, 2, rngs=rngs())
      self.norm = nnx.LayerNorm(6, rngs=rngs())

    def __call__(self, x):
      return self.two(nnx.gelu(self.norm(self.one(x))))

  class Block(nnx.Module):
    def __init__(self):
      self.embed = nnx.Linear(3, 6, rngs=rngs())
      self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs())
      self.out = nnx.Linear(6, 2, rngs=rngs())

    def __call__(self, x):
      x = self.embed(x)
      return self.out(x + self.attention(x))

  class Cnn(nnx.Module):
    def __init__(self):
      self.conv = nnx.Conv(3, 6, (3, 3), rngs=rngs())
      self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs())
      self.out = nnx.Linear(6, 2, rngs=rngs())

    def __call__(self, x):
      return self.out(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))

  build('mlp', '6', X, Mlp)
  build('block', '6 2 | gl3x2', T, Block)
  build('cnn', '6 | scale6', IMAGE, Cnn)


def _equinox(build):
  import equinox as eqx

  key = jax.random.key(0)

  class Rnn(eqx.Module):
    cell: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __init__(self):
      self.cell, self.out = eqx.nn.GRUCell(3, 6, key=key), eqx.nn.Linear(6, 2, key=key)

    def __call__(self, x):
      return self.out(jax.lax.scan(lambda h, x: (self.cell(x, h), None), jnp.zeros(6), x)[0])

  class Lstm(Rnn):
    def __init__(self):
      self.cell, self.out = eqx.nn.LSTMCell(3, 6, key=key), eqx.nn.Linear(6, 2, key=key)

    def __call__(self, x):
      start = jnp.zeros(6), jnp.zeros(6)
      return self.out(jax.lax.scan(lambda h, x: (self.cell(x, h), None), start, x)[0][0])

  class Norms(eqx.Module):
    layers: list

    def __init__(self):
      self.layers = [
        eqx.nn.Linear(3, 6, key=key),
        eqx.nn.LayerNorm(6),
        eqx.nn.Linear(6, 2, key=key),
      ]

    def __call__(self, x):
      return self.layers[2](jax.nn.gelu(self.layers[1](self.layers[0](x))))

  build('mlp', '6 6 | scale6 scale6', X, lambda: eqx.nn.MLP(3, 2, 6, 2, key=key))
  build('gru', '6', T, Rnn)
  build('lstm', '6', T, Lstm)
  build('norm', '6', X, Norms)


_split(_nnx, 'nnx')
_split(_equinox, 'equinox')


def made(name):
  """(function, shapes, inputs, expected permutations, other expected kinds) of a case."""
  fn, params, inputs, expected = CASES[name]()
  is_shape = lambda x: isinstance(x, tuple) and all(isinstance(n, int) for n in x)  # noqa: E731
  shape = lambda x: SHAPE(x if is_shape(x) else x.shape, np.float64)  # noqa: E731
  is_key = lambda x: not is_shape(x) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
  double = lambda x: x if is_key(x) else shape(x)  # noqa: E731
  params = jax.tree.map(double, params, is_leaf=is_shape)
  permutations, _, kinds = expected.partition('|')
  count = collections.Counter
  return fn, params, tuple(map(shape, inputs)), count(permutations.split()), count(kinds.split())


def found(inferred):
  """(permutations, other kinds) that were inferred, as in a case."""
  spec, report = inferred.spec, inferred.report
  per = lambda sizes: ''.join(f'x{n}' for _, n in sizes)  # noqa: E731
  apart = {b.group for b in report.blocks}
  permutations = [str(g.size) for g in spec.groups if g.id not in apart]
  permutations += [f'{b.size}{per(b.per)}' for b in report.blocks]
  names = {'positive_scale': 'scale', 'general_linear': 'gl', 'orthogonal': 'o'}
  kinds = [f'{names.get(k, k)}{g.size}' for g in spec.groups for k in g.kinds[1:]]
  kinds += [
    f'{names.get(g.kind, g.kind)}{g.size}{per(g.per)}' for g in (*report.gauges, *report.rescalings)
  ]
  return collections.Counter(permutations), collections.Counter(kinds)
