"""What fixes the order of units is seen, named, and nothing else is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.symmetry import infer_cases
from wsjax.symmetry.inference import infer, rules

INPUTS = infer_cases.normal(4, 3)
PARAMS = infer_cases.shapes(w=(3, 6), b=(6,), v=(6, 6), u=(6, 2))


def _net(fault):
  """Two hidden layers; a fault sits between them."""

  def fn(params, x):
    x = jnp.tanh(x @ params['w'] + params['b'][None])
    x = fault(x, params)
    x = jax.nn.silu(x @ params['v'])
    return x @ params['u']

  return fn


def _groups(inferred):
  return {group.id: group.size for group in inferred.spec.groups}


def test_without_a_fault_both_layers_are_found():
  assert _groups(infer_cases.found(_net(lambda x, p: x), PARAMS, INPUTS)) == {'w': 6, 'v': 6}


def _scatter(x, params):
  return x.at[:, jnp.array([2, 0])].set(0.0)


FAULTS = {
  'sort': lambda x, p: jnp.sort(x, axis=-1),
  'cumsum': lambda x, p: jnp.cumsum(x, axis=-1),
  'cummax': lambda x, p: jax.lax.cummax(x, axis=1),
  'argmax': lambda x, p: x + jnp.argmax(x, -1)[:, None],
  'top_k': lambda x, p: jax.lax.top_k(x, 6)[0],
  'rev': lambda x, p: x + x[:, ::-1],
  'constant': lambda x, p: x * np.arange(6, dtype=np.float32)[None],
  'iota': lambda x, p: x + jnp.arange(6.0)[None],
  'dynamic_slice': lambda x, p: x * jax.lax.dynamic_slice(x, (0, jnp.int32(2)), (4, 1)),
  'gather': lambda x, p: x[:, jnp.array([1, 0, 2, 3, 4, 5])],
  'scatter': _scatter,
  'reduce_window_max': lambda x, p: jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, (1, 3), (1, 1), 'SAME'
  ),
  'cholesky': lambda x, p: x @ jnp.linalg.cholesky(x.T @ x + 3 * jnp.eye(6)).astype(x.dtype),
  'fft': lambda x, p: jnp.fft.fft(x).real,
  'random_bits': lambda x, p: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape),
}


@pytest.mark.parametrize('name', FAULTS)
def test_planted_faults_are_pinned_and_named(name):
  inferred = infer_cases.found(_net(FAULTS[name]), PARAMS, INPUTS)
  assert _groups(inferred) == {'v': 6}  # Only the layer without the fault.
  names = [pin.primitive for pin in inferred.report.pins if 'w:1' in pin.axes]
  assert any(pin.startswith(name) for pin in names), names


@pytest.mark.parametrize('name', ['cholesky', 'random_bits'])
def test_primitives_without_a_rule_are_reported(name):
  inferred = infer.infer(_net(FAULTS[name]), PARAMS, INPUTS)
  assert name in inferred.report.unsupported
  assert not inferred.report.pin(name).supported


def test_weights_that_are_tied_to_the_output_are_pinned():
  def fn(params, tokens):
    x = params['table'][tokens]
    x = x + jnp.tanh(x @ params['w']) @ params['v']
    return x @ params['table'].T

  params = infer_cases.shapes(table=(9, 4), w=(4, 5), v=(5, 4))
  inferred = infer_cases.found(fn, params, np.arange(3))
  table = infer_cases.table(inferred.spec)
  assert table['table'] == (None, ('v', 1, 1))
  pins = [p.primitive for p in inferred.report.pins if 'table:0' in p.axes]
  assert set(pins) == {'output', 'gather'}


def test_a_slice_keeps_blocks_that_it_does_not_cut():
  fault = lambda x, p: jnp.concatenate([x[:, 4:], x[:, :4]], -1)  # noqa: E731
  inferred = infer_cases.found(_net(fault), PARAMS, INPUTS)
  assert infer_cases.table(inferred.spec)['b'] == (('w', 3, 1),)
  fault = lambda x, p: jnp.pad(x[:, 1:], ((0, 0), (1, 0)))  # noqa: E731
  assert _groups(infer_cases.found(_net(fault), PARAMS, INPUTS)) == {'v': 6}


def test_a_triangle_of_scores_pins_the_units_it_orders():
  def fault(x, params):
    scores = jnp.where(jnp.tril(jnp.ones((6, 6), bool)), x.T @ x, 0.0)
    return x @ scores

  assert _groups(infer_cases.found(_net(fault), PARAMS, INPUTS)) == {'v': 6}
  fault = lambda x, p: x @ (x.T @ x)  # noqa: E731
  assert len(_groups(infer_cases.found(_net(fault), PARAMS, INPUTS))) == 2


def test_a_wrong_rule_is_caught(monkeypatch):
  """The law, checked numerically, does not trust the table."""

  def wrong(axes, op):
    for axis in range(len(op.ins[0].shape)):
      axes.link(op, 0, axis, 0, axis)

  monkeypatch.setitem(rules.RULES, 'cumsum', wrong)
  with pytest.raises(AssertionError):
    infer_cases.found(_net(FAULTS['cumsum']), PARAMS, INPUTS)


LAYERS = infer_cases.shapes(i=(3, 4), w=(5, 4, 4), b=(5, 4), o=(4, 2))


def _loop(params, x):
  def body(i, x):
    return jnp.tanh(x @ params['w'][i] + params['b'][i][None])

  return jax.lax.fori_loop(0, 5, body, x @ params['i']) @ params['o']


def _scan(params, x):
  def body(x, layer):
    return jnp.tanh(x @ layer[0] + layer[1][None]), x.sum()

  x, sums = jax.lax.scan(body, x @ params['i'], (params['w'], params['b']))
  return x @ params['o']


def _while(params, x):
  def body(carry):
    i, x = carry
    w = jax.lax.dynamic_index_in_dim(params['w'], i, keepdims=False)
    return i + 1, jnp.tanh(x @ w + params['b'][i][None])

  go = lambda carry: (carry[0] < 5) & (carry[1].sum() < 1e9)  # noqa: E731
  return jax.lax.while_loop(go, body, (0, x @ params['i']))[1] @ params['o']


@pytest.mark.parametrize('fn', [_loop, _scan, _while])
def test_loops_over_stacked_layers_share_their_units(fn):
  inferred = infer_cases.found(fn, LAYERS, INPUTS)
  unit = (inferred.spec.groups[0].id, 1, 1)
  assert infer_cases.table(inferred.spec) == {
    'i': (None, unit),
    'w': (None, unit, unit),
    'b': (None, unit),
    'o': (unit, None),
  }
  signs = inferred.spec.groups[0].kinds
  assert signs == (('permutation',) if fn is _while else ('permutation', 'sign'))


def test_conditions_tie_their_branches():
  def fault(x, params):
    return jax.lax.cond(x.sum() > 0, lambda x: x * 2, lambda x: jnp.roll(x, 1), x)

  assert _groups(infer_cases.found(_net(fault), PARAMS, INPUTS)) == {'v': 6}
  fault = lambda x, p: jax.lax.cond(  # noqa: E731
    x[0, 0] * 0 + (x**2).sum() > 0, jnp.tanh, jnp.sin, x
  )
  assert 'v' in _groups(infer_cases.found(_net(fault), PARAMS, INPUTS))
  fault = lambda x, p: jax.lax.cond(  # noqa: E731
    (x**2).sum() > 0, jnp.tanh, jnp.sin, x
  )
  inferred = infer_cases.found(_net(fault), PARAMS, INPUTS)
  assert inferred.spec.group('w').kinds == ('permutation', 'sign')


def test_remat_vmap_and_custom_gradients_are_looked_into():
  @jax.custom_vjp
  def square(x):
    return x * x

  square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))

  def one(params, x):
    x = square(jax.checkpoint(jnp.tanh)(x @ params['w']))
    return x @ params['v']

  params = infer_cases.shapes(w=(7, 3, 6), v=(7, 6, 2))

  def fn(params, x):
    return jax.vmap(one, in_axes=(0, None))(params, x).mean(0)

  inferred = infer_cases.found(fn, params, INPUTS)
  assert infer_cases.table(inferred.spec) == {
    'w': (('w', 1, 1), None, ('w.2', 1, 1)),
    'v': (('w', 1, 1), ('w.2', 1, 1), None),
  }


def test_depthwise_and_grouped_convolutions():
  def fn(params, x):
    numbers = ('NHWC', 'HWIO', 'NHWC')

    def conv(x, kernel, groups):
      return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), 'SAME',
        dimension_numbers=numbers, feature_group_count=groups,
      )  # fmt: skip

    x = jax.nn.relu(conv(x, params['in'], 1))
    x = jax.nn.relu(conv(x, params['depth'], 6))
    x = jax.nn.relu(conv(x, params['groups'], 2))
    return conv(x, params['out'], 1)

  params = infer_cases.shapes(
    **{'in': (1, 1, 3, 6)}, depth=(3, 3, 1, 6), groups=(3, 3, 3, 8),
    out=(1, 1, 8, 2),
  )  # fmt: skip
  spec = infer_cases.found(fn, params, infer_cases.normal(2, 5, 5, 3)).spec
  assert infer_cases.table(spec) == {
    'in': (None, None, None, ('in', 2, 1)),
    'depth': (None, None, None, ('in', 2, 1)),
    'groups': (None, None, ('in', 1, 1), ('groups', 2, 1)),
    'out': (None, None, ('groups', 2, 1), None),
  }
  # A depthwise kernel multiplies what is scaled already: powers 1 + 1 - 1.
  assert spec.group('in').kinds == ('permutation',)
  assert spec.group('groups').kinds == ('permutation', 'positive_scale')
