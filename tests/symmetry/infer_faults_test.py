"""Faults that were found in inferred symmetries; each stands for its kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.symmetry import gauge
from wsjax.symmetry.inference import infer

HIDDEN = 8


def _shape(*shape, dtype=np.float64):
  return jax.ShapeDtypeStruct(shape, dtype)


def _inferred(fn, params, *inputs):
  """What is inferred, after all its elements were tried on random weights."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    inferred = infer.infer(fn, params, *inputs)
    change = infer.verify(inferred, fn, *_drawn(params, inputs), jax.random.key(1), num=2)
  assert change < 1e-10, inferred
  return inferred


def _drawn(params, inputs):
  return infer.draw((params, inputs), jax.random.key(0))


def _kinds(between, *inputs, dtype=np.float64):
  """Kinds of hidden units with a function between two dense layers; inputs are `t` [4, 1]."""
  params = {'w': _shape(3, HIDDEN, dtype=dtype), 'b': _shape(HIDDEN), 'v': _shape(HIDDEN, 2)}

  def fn(params, x, t):
    h = x @ params['w'].astype(x.dtype) + params['b']
    return between(h, t) @ params['v']

  (group,) = _inferred(fn, params, _shape(4, 3), _shape(4, 1)).spec.groups
  return group.kinds[1:]


SHAPE = (4, HIDDEN)
# Numbers that stand among units without being scaled, negated or shifted along with them.
CONSTANTS = {
  'broadcast': lambda h, t: h + jnp.broadcast_to(t, SHAPE),
  'full': lambda h, t: h + jnp.full(SHAPE, t[0, 0]),
  'full_like': lambda h, t: jnp.maximum(h, jnp.full_like(h, t[0, 0])),
  'repeat': lambda h, t: h + jnp.repeat(t, HIDDEN, 1),
  'tile': lambda h, t: h + jnp.tile(t, (1, HIDDEN)),
  'where': lambda h, t: jnp.where(t > 0.9, h, jnp.full(SHAPE, t[0, 0])),
  'vmap': lambda h, t: jax.vmap(lambda u: jnp.where(jnp.abs(u) > 0.5, u, t[:, 0]), 1, 1)(h),
  'vmap_concatenate': lambda h, t: (
    jax.vmap(lambda u: jnp.concatenate([u, t[:, 0]]), 1, 1)(h)[:4]
    + jax.vmap(lambda u: jnp.concatenate([t[:, 0], u]), 1, 1)(h)[:4]
  ),
  'neg': lambda h, t: h + -jnp.ones(SHAPE),
  'pad': lambda h, t: jnp.pad(h, ((0, 1), (0, 0)), constant_values=1.0)[1:],
  'scatter': lambda h, t: h.at[1].set(1.0),
  'update': lambda h, t: jax.lax.dynamic_update_slice(h, jnp.ones((1, HIDDEN)), (1, 0)),
  'into_ones': lambda h, t: jax.lax.dynamic_update_slice(jnp.ones(SHAPE), h[:1], (1, 0)),
  'concatenate': lambda h, t: jnp.concatenate([h[:2], jnp.ones((2, HIDDEN))]),
  'stack': lambda h, t: jnp.stack([h, jnp.ones(SHAPE)]).sum(0),
  'clamp': lambda h, t: jnp.clip(h, -1.0, 1.0),
  'loop': lambda h, t: jax.lax.fori_loop(0, 2, lambda i, s: s + h, jnp.ones(SHAPE)),
  'scan': lambda h, t: jax.lax.scan(lambda s, u: (s + u, s), jnp.ones(HIDDEN), h)[1],
  'while': lambda h, t: jax.lax.while_loop(
    lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] + t), (0, h)
  )[1],
  'cond': lambda h, t: jax.lax.cond(t[0, 0] > 0.9, lambda h: h, lambda h: jnp.ones_like(h), h),
  'gather_fill': lambda h, t: h.at[jnp.array([0, 9, 1, 2])].get(mode='fill', fill_value=1.0),
  'take_fill': lambda h, t: jnp.take(h, jnp.array([0, 9, 1, 2]), 0, mode='fill', fill_value=1.0),
  'custom_jvp': lambda h, t: jax.nn.relu6(h),
  'one_hot': lambda h, t: h + (jnp.arange(4)[:, None] == 1) * jnp.ones(SHAPE),
  'to_int': lambda h, t: (100 * h).astype(jnp.int8).astype(h.dtype),
}


@pytest.mark.parametrize('name', CONSTANTS)
@pytest.mark.parametrize('activation', [jax.nn.relu, jnp.tanh, lambda h: jnp.sin(3 * h), jnp.cos])
def test_a_constant_among_units_leaves_no_scale_and_no_sign(name, activation):
  even = activation is jnp.cos
  kinds = _kinds(lambda h, t: activation(CONSTANTS[name](h, t)))
  assert kinds == () or (even and kinds == ('sign',)), kinds
  assert not _kinds(lambda h, t: CONSTANTS[name](activation(h), t))


def test_zeros_among_units_are_scaled_but_not_shifted():
  pad = lambda h: jnp.pad(h, ((0, 1), (0, 0)))[1:]  # noqa: E731
  assert _kinds(lambda h, t: jax.nn.relu(pad(h))) == ('positive_scale',)
  assert _kinds(lambda h, t: jnp.tanh(pad(h))) == ('sign',)
  assert 'phase' in _kinds(lambda h, t: jnp.sin(h))
  assert 'phase' not in _kinds(lambda h, t: jnp.cos(pad(h)))
  zero = lambda h: jnp.where(jnp.arange(4)[:, None] > 1, h, 0.0)  # noqa: E731
  assert 'phase' not in _kinds(lambda h, t: jnp.cos(zero(h)))
  assert 'phase' not in _kinds(lambda h, t: jnp.cos(h.at[1].set(0.0)))
  infinite = lambda h, t: jnp.tanh(h / jnp.zeros(SHAPE))  # noqa: E731
  assert _kinds(infinite) in ((), ('sign',))


def test_weights_that_read_ones_are_not_scaled_whatever_stands_beside_them():
  """Pairs of units lie twice along the piece beside the ones, and are not followed."""

  def fn(params, x):
    h = x @ params['w']
    pairs = (h[..., :, None] * h[..., None, :]).reshape(*h.shape[:-1], -1)
    return jnp.tanh(jnp.concatenate([pairs, jnp.ones_like(pairs)], -1) @ params['v'])

  params = {'w': _shape(3, 6), 'v': _shape(72, 5)}
  assert not _inferred(fn, params, _shape(4, 3)).report.rescalings


def test_signs_that_cancel_leave_the_sign_of_zero():
  def fn(params, x):
    h = (x @ params['w']).at[1].set(0.0)
    even = h * h.sum(0)
    return jnp.arctan2(even, even) @ params['v']

  params = {'w': _shape(3, HIDDEN), 'v': _shape(HIDDEN, 2)}
  assert not [g for g in _inferred(fn, params, _shape(4, 3)).report.rescalings if g.kind == 'sign']


def test_phases_are_proved_and_not_tried_out():
  far = jax.jit(lambda z: jnp.where(jnp.abs(z) < 50, jnp.sin(z), z))
  assert _kinds(lambda h, t: far(30 * h)) == ('sign',)

  def other(z):
    return jax.lax.platform_dependent(z, cpu=far, default=jnp.sin)

  assert 'phase' not in _kinds(lambda h, t: other(30 * h))


@pytest.mark.parametrize('dtype', [np.int8, np.uint8, np.int32, np.bool_])
def test_whole_numbers_have_neither_scale_nor_sign(dtype):
  for activation in (jax.nn.relu, jnp.tanh, lambda h: h):
    assert not _kinds(lambda h, t: activation(h), dtype=dtype)  # noqa: B023


def _gauges(fn, params, *inputs):
  """{(kind, size, per ...): axes}."""
  report = _inferred(fn, params, *inputs).report
  return {(g.kind, g.size, *(n for _, n in g.per)): g.names for g in report.gauges}


def _attend(q, k, v):
  weights = jax.nn.softmax(jnp.einsum('bthk,bshk->bhts', q, k))
  return jnp.einsum('bhts,bshk->bthk', weights, v)


def _split_in_thirds(z):
  return [part.reshape(2, 5, 2, 4) for part in jnp.split(z, 3, -1)]


def _last(z):
  return jnp.moveaxis(z.reshape(2, 5, 2, 4, 3), -1, 0)


def _interleaved(z):
  return jnp.moveaxis(z.reshape(2, 5, 2, 3, 4), 3, 0)


def _fused(parts):
  def fn(params, x):
    return _attend(*parts(x @ params['qkv'])).reshape(2, 5, 8) @ params['o']

  return fn, {'qkv': _shape(3, 24), 'o': _shape(8, 2)}, _shape(2, 5, 3)


@pytest.mark.parametrize('parts', [_split_in_thirds, _last, _interleaved])
def test_each_part_of_fused_attention_has_matrices_of_its_own(parts):
  gauges = _inferred(*_fused(parts)).report.gauges
  names = ['qkv:1[0:8]', 'qkv:1[8:16]^-T', 'qkv:1[16:24]']
  if parts is not _split_in_thirds:
    names = [f'qkv[{i} of 3 along 1]:1' + '^-T' * (i == 1) for i in range(3)]
  assert {g.names for g in gauges} == {(names[0], names[1]), (names[2], 'o:0^-T')}
  assert all((g.kind, g.size, g.per) == ('general_linear', 4, (('qkv:1', 2),)) for g in gauges)


VECTORS = {
  'gram': lambda z, p: z @ z.T,
  'norm': lambda z, p: (z**2).sum(-1),
  'cosine': lambda z, p: (z / jnp.linalg.norm(z + 0, axis=-1, keepdims=True)) @ p['v'],
  'rms_norm': lambda z, p: jnp.tanh(
    (z / jnp.sqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-3)) @ p['v']
  ),
  'tied': lambda z, p: (z + p['b']) @ p['w'].T,
}


@pytest.mark.parametrize('name', VECTORS)
def test_a_vector_that_meets_itself_has_orthogonal_matrices_only(name):
  params = {'w': _shape(3, 6), 'b': _shape(6), 'v': _shape(6, 2)}
  gauges = _gauges(lambda p, x: VECTORS[name](x @ p['w'], p), params, _shape(4, 3))
  assert list(gauges) == [('orthogonal', 6)]


def test_general_matrices_say_which_axes_take_the_inverse():
  params = {'a': _shape(3, 6), 'b': _shape(6), 'c': _shape(6, 6), 'd': _shape(6, 2)}

  def fn(params, x):
    h = x @ params['a'] + params['b']
    return (h + 2 * h @ params['c']) @ params['d']

  assert _gauges(fn, params, _shape(4, 3)) == {
    ('general_linear', 6): ('a:1', 'b:0', 'c:0^-T', 'c:1', 'd:0^-T')
  }
  shifted = lambda p, x, t: (x @ p['a'] + jnp.broadcast_to(t, (4, 6))) @ p['d']  # noqa: E731
  assert not _gauges(shifted, params, _shape(4, 3), _shape(4, 1))


def _heads(params, x):
  return (jnp.einsum('btd,dhk->bthk', x, params[name]) for name in 'qkv')


def _read(heads, params):
  return jnp.einsum('bthk,hkd->btd', heads, params['o'])


HEADS = {'q': (6, 4, 5), 'k': (6, 4, 5), 'v': (6, 4, 3), 'o': (4, 3, 2)}


@pytest.mark.parametrize(
  ('changes', 'fn', 'expected'),
  [
    ({}, lambda p, x: _read(_attend(*_heads(p, x)), p), {(5, 4), (3, 4)}),
    (  # One key and value for all heads.
      {'k': (6, 5), 'v': (6, 3)},
      lambda p, x: _read(
        _attend(
          jnp.einsum('btd,dhk->bthk', x, p['q']),
          *(jnp.broadcast_to((x @ p[n])[:, :, None], (2, 5, 4, p[n].shape[1])) for n in 'kv'),
        ),
        p,
      ),
      {(5,), (3,)},
    ),
    (  # Heads that are mixed.
      {'m': (4, 4)},
      lambda p, x: _read(jnp.einsum('bthk,hm->btmk', _attend(*_heads(p, x)), p['m']), p),
      {(5, 4), (3,), (4,)},
    ),
    (  # Heads that are summed.
      {},
      lambda p, x: _read((lambda h: h + h.sum(2, keepdims=True))(_attend(*_heads(p, x))), p),
      {(5, 4), (3,)},
    ),
    (  # A bias for all heads.
      {'b': (3,)},
      lambda p, x: _read(_attend(*_heads(p, x)) + p['b'], p),
      {(5, 4), (3,)},
    ),
    (  # Heads in a fixed order have their matrices too.
      {},
      lambda p, x: _read(_attend(*_heads(p, x)) * jnp.arange(1.0, 5.0)[:, None], p),
      {(5, 4), (3, 4)},
    ),
  ],
  ids=['attention', 'multi_query', 'talking_heads', 'sum', 'shared_bias', 'fixed_order'],
)
def test_heads_have_matrices_of_their_own_only_where_they_stay_apart(changes, fn, expected):
  params = {name: _shape(*shape) for name, shape in {**HEADS, **changes}.items()}
  gauges = _gauges(fn, params, _shape(2, 5, 6))
  assert {key[1:] for key in gauges if key[0] == 'general_linear'} == expected


def test_outer_products_have_one_matrix_for_each_side():
  fn = lambda p, x: jnp.einsum('bsl,bsr,lrd->bd', x @ p['l'], x @ p['r'], p['o'])  # noqa: E731
  params = {'l': _shape(6, 4), 'r': _shape(6, 5), 'o': _shape(4, 5, 3)}
  gauges = _gauges(fn, params, _shape(2, 5, 6))
  assert set(gauges) == {('general_linear', 4), ('general_linear', 5)}


RESCALINGS = {
  'swiglu': (lambda p, x: (jax.nn.silu(x @ p['g']) * (x @ p['w'])) @ p['v'], {'scale', 'sign'}),
  'reglu': (lambda p, x: (jax.nn.relu(x @ p['g']) * (x @ p['w'])) @ p['v'], {'scale', 'sign'}),
  'squared_relu': (lambda p, x: jax.nn.relu(x @ p['w']) ** 2 @ p['v'], {'scale'}),
  'gain': (lambda p, x: jnp.tanh(jax.nn.standardize(x @ p['w']) * p['b'] @ p['v']), {'scale',
           'sign'}),
  'batch_norm': (
    lambda p, x: jax.nn.relu((x @ p['w'] - p['m']) / jnp.sqrt(p['s'] + 0.1) * p['a'] + p['b'])
    @ p['v'], {'scale', 'sign'}),
  'sigmoid': (lambda p, x: jax.nn.sigmoid(x @ p['w']) @ p['v'], set()),
}  # fmt: skip


@pytest.mark.parametrize('name', RESCALINGS)
def test_scales_with_other_powers_are_reported(name):
  fn, kinds = RESCALINGS[name]
  params = {k: _shape(3, 6) for k in 'gw'} | {k: _shape(6) for k in 'abms'} | {'v': _shape(6, 2)}
  report = _inferred(fn, params, _shape(4, 3)).report
  found = {g.kind.removeprefix('positive_') for g in report.rescalings}
  assert found == kinds


def test_verify_tries_gauges_and_does_not_trust_weights_of_zero():
  params = {'w': np.eye(3, 6), 'c': np.zeros(()), 'v': np.ones((6, 2))}
  fn = lambda p, x: jax.nn.relu(x @ p['w'] + p['c']) @ p['v']  # noqa: E731
  args = (fn, params, (np.ones((4, 3)),), jax.random.key(0))
  inferred = infer.infer(*args[:2], *args[2])
  assert infer.verify(inferred, *args) < 1e-5
  (group,) = inferred.spec.groups
  kinds = ('permutation', 'positive_scale')
  wrong = type(inferred.spec)((type(group)(group.id, 6, kinds),), inferred.spec.leaves)
  false = infer.Inferred(wrong, inferred.report)
  assert infer.verify(false, *args) > 1e-3
  axes = (gauge.GaugeAxis('w', 1, (3, 6), 1), gauge.GaugeAxis('v', 0, (6, 2), 0, -1))
  report = type(inferred.report)(
    **{**vars(inferred.report), 'gauges': (gauge.Gauge('general_linear', None, 6, axes),)}
  )
  assert infer.verify(infer.Inferred(inferred.spec, report), *args) > 1e-3


def test_drawn_whole_numbers_are_not_all_zero():
  drawn = infer.draw({'i': _shape(50, dtype=np.int8), 'b': _shape(50, dtype=np.bool_)},
                     jax.random.key(0))  # fmt: skip
  assert set(np.unique(drawn['i'])) == {0, 1, 2}
  assert drawn['b'].any()


def test_an_identity_matrix_changes_nothing():
  g = gauge.Gauge('general_linear', None, 3, (gauge.GaugeAxis('w', 1, (2, 4, 3), 2, -1, (1,)),))
  params = {'w': np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)}
  moved = g.act(jnp.broadcast_to(jnp.eye(3), (4, 3, 3)), params)
  np.testing.assert_allclose(moved['w'], params['w'], atol=1e-6)


def _module():
  import equinox

  return equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))


def _deep(params, x):
  w = params['w']
  for _ in range(1500):
    w = jnp.moveaxis(w, 0, 1)
  return jax.nn.relu(x @ w) @ params['v']


BAD = {
  'string': (lambda p, x: x, {'name': 'relu'}, (np.ones(3),), "'name'"),
  'function': (lambda p, x: x, {'w': np.ones(3), 'act': jax.nn.relu}, (np.ones(3),), "'act'"),
  'input': (lambda p, x: x, {'w': np.ones(3)}, ({'mode': 'train'},), 'mode'),
  'shape': (lambda p, x: x @ p['w'], {'w': np.ones((4, 2))}, (np.ones((2, 3)),), 'traced'),
  'axis name': (lambda p, x: jax.lax.psum(x * p['w'], 'batch'), {'w': 1.0}, (1.0,), 'batch'),
  'key': (lambda p, x: p['v'], {'w': np.ones(3)}, (np.ones(3),), 'KeyError'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_cannot_be_traced_is_one_sentence(name):
  fn, params, inputs, named = BAD[name]
  with pytest.raises(ValueError, match=named) as caught:
    infer.infer(fn, params, *inputs)
  assert '\n' not in str(caught.value)


def test_an_equinox_module_is_split_as_its_error_says():
  import equinox

  module = _module()
  with pytest.raises(ValueError, match='equinox.partition'):
    infer.infer(lambda m, x: m(x), module, np.ones(3, np.float32))
  params, static = equinox.partition(module, equinox.is_array)
  apply_fn = lambda params, x: equinox.combine(params, static)(x)  # noqa: E731
  spec = infer.infer(apply_fn, params, np.ones(3, np.float32)).spec
  assert [(g.size, g.kinds) for g in spec.groups] == [(4, ('permutation', 'positive_scale'))]


def test_deep_unrolled_functions_are_traced_once():
  inferred = infer.infer(_deep, {'w': _shape(3, 4), 'v': _shape(4, 2)}, _shape(5, 3))
  assert [g.size for g in inferred.spec.groups] == [4]

  def doubled(params, x):
    w = params['w']
    for _ in range(40):
      w, _ = jax.lax.optimization_barrier((w, w))
    return jnp.tanh(x @ w)

  assert infer.infer(doubled, {'w': _shape(3, 4)}, _shape(5, 3)).report.pin('output')
