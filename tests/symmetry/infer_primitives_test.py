"""Primitives that units pass through: empty arrays, indices, collectives, transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from wsjax.symmetry.inference import infer

WIDTH = 6
PARAMS = {
  'w': jax.ShapeDtypeStruct((3, WIDTH), np.float64),
  'b': jax.ShapeDtypeStruct((WIDTH,), np.float64),
  'v': jax.ShapeDtypeStruct((WIDTH, 2), np.float64),
}
X = jax.ShapeDtypeStruct((4, 8, 3), np.float64)
INDEX = jax.ShapeDtypeStruct((4,), np.int32)
SCALE, SIGN = ('permutation', 'positive_scale'), ('permutation', 'sign')


def _checked(fn, *inputs, like=None):
  """The spec, after its elements were tried; `like` is a function with the same values."""
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    inferred = infer.infer(fn, PARAMS, *inputs)
    drawn = infer.draw((PARAMS, inputs), jax.random.key(0))
    assert infer.verify(inferred, like or fn, *drawn, jax.random.key(1)) < 1e-10
  return inferred.spec


def _between(middle):
  def fn(params, x, *others):
    return middle(x @ params['w'] + params['b'], params, *others) @ params['v']

  return fn


def _recurrence(h, params):
  decay = jax.nn.sigmoid(params['b'] * 0 + 1.0)
  gates = jnp.broadcast_to(decay, h.shape)
  join = lambda one, two: (one[0] * two[0], one[1] * two[0] + two[1])  # noqa: E731
  return jnp.tanh(jax.lax.associative_scan(join, (gates, h), axis=1)[1])


PASSED = {
  'associative scan': (lambda h, p: jnp.tanh(jax.lax.associative_scan(jnp.add, h, axis=1)), SIGN),
  'recurrence': (_recurrence, SIGN),
  'empty slice': (lambda h, p: jax.nn.relu(jnp.concatenate([h, h[:, :0]], 1)), SCALE),
  'empty sum': (lambda h, p: jax.nn.relu(h) + h[:, :0].sum(1, keepdims=True), SCALE),
  'complex ones': (
    lambda h, p: jnp.real((jnp.exp(1j * jnp.tanh(h)) - jnp.ones(WIDTH)) * 2),
    ('permutation',),
  ),
  'complex': (lambda h, p: jnp.real(jnp.abs(h) * (1 + 2j)), SCALE),
  'fft': (lambda h, p: jax.nn.relu(jnp.fft.ifft(jnp.fft.fft(h, axis=1), axis=1).real), SCALE),
}


@pytest.mark.parametrize('name', PASSED)
def test_units_pass(name):
  middle, kinds = PASSED[name]
  (group,) = _checked(_between(middle), X).groups
  assert (group.size, group.kinds) == (WIDTH, kinds)


@pytest.mark.parametrize('length', [2, 3, 4, 7, 8])
def test_recurrences_of_any_length_pass(length):
  x = jax.ShapeDtypeStruct((4, length, 3), np.float64)
  (group,) = _checked(_between(_recurrence), x).groups
  assert group.kinds == SIGN


INDEXED = {
  'index': lambda h, p, i: jax.vmap(lambda h, i: h[i])(h, i),
  'dynamic slice': lambda h, p, i: jax.vmap(
    lambda h, i: jax.lax.dynamic_slice(h, (i, i * 0), (2, WIDTH))
  )(h, i),
  'update': lambda h, p, i: jax.vmap(
    lambda h, i: jax.lax.dynamic_update_slice(h, jnp.zeros((1, WIDTH)), (i, i * 0))
  )(h, i),
  'set': lambda h, p, i: jax.vmap(lambda h, i: h.at[i].set(0.0))(h, i),
  'fill': lambda h, p, i: jax.vmap(lambda h, i: h.at[i + 7].get(mode='fill', fill_value=0))(h, i),
}


@pytest.mark.parametrize('name', INDEXED)
def test_units_beside_an_index_of_each_example_pass(name):
  fn = _between(lambda h, p, i: jax.nn.relu(INDEXED[name](h, p, i)))
  (group,) = _checked(fn, X, INDEX).groups
  assert group.kinds == SCALE


MESH = jax.sharding.AbstractMesh((2,), ('d',))


def _sharded(body, specs, out):
  return jax.shard_map(body, mesh=MESH, in_specs=specs, out_specs=out)


def test_sums_over_devices_pass():
  def body(params, x):
    h = x @ params['w'] + params['b']
    h = h - jax.lax.pmean(h.mean((0, 1)), 'd')
    h = h / jnp.sqrt(jax.lax.psum((h**2).sum((0, 1)), 'd') / 32 + 0.1)
    return jax.nn.relu(h) @ params['v']

  def like(params, x):
    h = x @ params['w'] + params['b']
    h = h - h.mean((0, 1))
    return jax.nn.relu(h / jnp.sqrt((h**2).mean((0, 1)) + 0.1)) @ params['v']

  (group,) = _checked(_sharded(body, (P(), P('d')), P('d')), X, like=like).groups
  assert (group.size, group.kinds) == (WIDTH, ('permutation',))


def test_sharded_units_are_moved_alike_on_every_device():
  def body(params, x):
    h = jax.nn.relu(x @ params['w'] + params['b'])
    return jax.lax.psum(h @ params['v'], 'd')

  specs = {'w': P(None, 'd'), 'b': P('d'), 'v': P('d')}
  like = _between(lambda h, p: jax.nn.relu(h))
  (group,) = _checked(_sharded(body, (specs, P()), P()), X, like=like).groups
  assert (group.size, group.kinds) == (WIDTH // 2, SCALE)


GATHERED = {
  'all_gather': lambda h: jax.lax.all_gather(h, 'd').sum(0)[:2],
  'tiled': lambda h: jax.lax.all_gather(h, 'd', tiled=True)[:2],
  'permuted': lambda h: jax.lax.ppermute(h, 'd', [(0, 1), (1, 0)]),
  'maximum': lambda h: jax.lax.pmax(h, 'd'),
}


@pytest.mark.parametrize('name', GATHERED)
def test_units_stay_apart_between_devices(name):
  def body(params, x):
    h = jax.nn.relu(x @ params['w'] + params['b'])
    return GATHERED[name](h) @ params['v']

  fn = jax.shard_map(body, mesh=MESH, in_specs=(P(), P('d')), out_specs=P('d'), check_vma=False)
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    (group,) = infer.infer(fn, PARAMS, X).spec.groups
  assert (group.size, group.kinds) == (WIDTH, SCALE)


def test_units_that_devices_exchange_are_pinned():
  def body(params, x):
    h = jax.nn.relu(x @ params['w'] + params['b'])
    h = jax.lax.all_to_all(h, 'd', 2, 0, tiled=True)
    return h.sum((0, 1)) @ params['v'][:3]

  fn = jax.shard_map(body, mesh=MESH, in_specs=(P(), P('d')), out_specs=P(), check_vma=False)
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    inferred = infer.infer(fn, PARAMS, X)
  assert not inferred.spec.groups
  assert 'all_to_all' in inferred.report.unsupported


def test_two_shards_of_one_array_are_not_the_same():
  def body(params, one, two):
    one, two = (jnp.tanh(x @ params['w'] + params['b']) for x in (one, two))
    return ((1 + one) * (1 - two)) @ params['v']

  def fn(params, x):
    specs = P(), P('a'), P('b')
    sharded = jax.shard_map(body, mesh=mesh, in_specs=specs, out_specs=P('a'), check_vma=False)
    return sharded(params, x, x)

  mesh = jax.sharding.AbstractMesh((2, 2), ('a', 'b'))
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    inferred = infer.infer(fn, PARAMS, X)
  (group,) = inferred.spec.groups
  assert group.kinds == ('permutation',) and not inferred.report.beyond
