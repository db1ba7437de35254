import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import strategies
from tests.symmetry import corpus, infer_cases
from wsjax import sine
from wsjax.models import cnn, mlp, siren
from wsjax.symmetry import spec as spec_lib
from wsjax.symmetry.inference import infer


@pytest.mark.parametrize('case', strategies.CASES, ids=lambda c: c.name)
def test_inferred_spec_equals_the_hand_written_one(case):
  inferred = infer.infer(case.forward, case.params(0), case.inputs(0))
  assert infer_cases.canonical(inferred.spec) == infer_cases.canonical(case.spec)


@pytest.mark.parametrize('activation', sorted(mlp.ACTIVATIONS))
@pytest.mark.parametrize(
  'made',
  [
    lambda a: mlp.MLP((9, 7, 6, 4), activation=a),
    lambda a: cnn.CNN((8, 8, 2), (3, 5), (6,), 4, activation=a),
  ],
  ids=['mlp', 'cnn'],
)
def test_architectures_are_inferred_with_every_activation(made, activation):
  arch = made(activation)
  _assert_same(arch, (2, 9) if arch.name == 'mlp' else (2, 8, 8, 2))


@pytest.mark.parametrize('omega', [30.0, 0.7])
def test_siren_has_its_half_turns_through_its_own_sine(omega):
  _assert_same(siren.SIREN((2, 6, 5, 3), omega=omega), (4, 2))


def _assert_same(arch, input_shape):
  params = jax.eval_shape(arch.init, jax.random.key(0))
  inputs = jax.ShapeDtypeStruct(input_shape, jnp.float32)
  inferred = infer.infer(arch.apply, params, inputs)
  assert infer_cases.canonical(inferred.spec) == infer_cases.canonical(arch.spec)


def _mlp(activation, **changes):
  params = infer_cases.shapes(w=(3, 6), b=(6,), v=(6, 2)) | changes

  def fn(params, x):
    x = activation(x @ params['w'] + params['b'][None])
    return x @ params['v']

  inferred = infer_cases.found(fn, params, infer_cases.normal(4, 3))
  return inferred.spec.groups[0].kinds, inferred


@pytest.mark.parametrize(
  ('activation', 'kinds'),
  [
    (lambda x: jnp.where(x > 0, x, 0.3 * x), ('positive_scale',)),
    (lambda x: jnp.clip(x, 0, jnp.inf), ('positive_scale',)),
    (lambda x: jnp.maximum(x, 0) ** 2, ()),
    (lambda x: jnp.sqrt(jnp.abs(x)), ()),
    (jax.nn.relu6, ()),
    (jax.nn.elu, ()),
    (jax.nn.soft_sign, ('sign',)),
    (lambda x: x**3 + jnp.arcsinh(x), ('sign',)),
    (lambda x: x**2 + x, ()),
    (jnp.abs, ('positive_scale',)),
    (jnp.cos, ()),
    (lambda x: jnp.floor(x), ()),
    (lambda x: x, ()),
    (lambda x: jnp.where(x > 0.5, x, 0), ()),
  ],
)
def test_kinds_follow_the_activation(activation, kinds):
  assert _mlp(activation)[0] == ('permutation', *kinds)


@pytest.mark.parametrize(
  ('activation', 'half_turn'),
  [
    (jnp.sin, np.pi),
    (lambda x: jnp.sin(-2.5 * x), np.pi / 2.5),
    (lambda x: jnp.sin(x / 4), 4 * np.pi),
    (lambda x: sine.sine(3 * x), np.pi / 3),
    (lambda x: jnp.sin(x) + 0.5 * jnp.sin(x), np.pi),
    (lambda x: jnp.sin(x) + jnp.sin(2 * x), None),  # Two periods.
    (lambda x: x + jnp.sin(x), None),
    (lambda x: jax.jit(lambda x: jnp.sin(x) + 1e-2 * x)(x), None),
  ],
)
def test_half_turns_are_read_off_the_function(activation, half_turn):
  kinds, inferred = _mlp(activation)
  assert kinds[:2] == ('permutation', 'sign')
  assert ('phase' in kinds) == (half_turn is not None)
  if half_turn:
    np.testing.assert_allclose(inferred.spec.groups[0].half_turn, half_turn)


def test_a_half_turn_needs_one_bias_of_its_own():
  def fn(params, x):
    x = x @ params['w'] + params['b'][None] + params['c'][None]
    return jnp.sin(x) @ params['v']

  params = infer_cases.shapes(w=(3, 6), b=(6,), c=(6,), v=(6, 2))
  spec = infer_cases.found(fn, params, infer_cases.normal(4, 3)).spec
  assert spec.groups[0].kinds == ('permutation', 'sign')


def test_scale_through_a_learned_frequency_gives_no_phase():
  def fn(params, x):
    x = x @ params['w'] + params['b'][None]
    return jnp.sin(params['omega'] * x) @ params['v']

  params = infer_cases.shapes(w=(3, 6), b=(6,), v=(6, 2), omega=())
  spec = infer_cases.found(fn, params, infer_cases.normal(4, 3)).spec
  assert spec.groups[0].kinds == ('permutation', 'sign')


def test_linear_units_are_a_gauge():
  inferred = _mlp(lambda x: 2 * x)[1]
  (gauge,) = inferred.report.gauges
  assert (gauge.kind, gauge.size) == ('general_linear', 6)
  assert gauge.names == ('w:1', 'b:0', 'v:0^-T')
  assert not _mlp(jnp.tanh)[1].report.gauges


def test_params_may_be_nested_and_inputs_trees():
  def fn(params, batch, scale):
    x = jnp.tanh(batch['x'] @ params['a']['w'] * scale)
    return x @ params['a']['v'][0]

  struct = jax.ShapeDtypeStruct
  params = {'a': {'w': struct((3, 4), np.float32), 'v': [struct((4, 2), np.float32)]}}
  batch = {'x': infer_cases.normal(2, 3)}
  spec = infer_cases.found(fn, params, batch, 2.0).spec
  assert infer_cases.table(spec) == {'a/w': (None, ('a', 1, 1)), 'a/v/0': (('a', 1, 1), None)}


def test_leaves_come_in_the_order_of_their_use():
  def fn(params, x):
    x = jnp.tanh(x @ params['z'])
    x = jnp.tanh(x @ params['m'].T + params['n'][None])
    return x @ params['a']

  params = infer_cases.shapes(a=(5, 2), m=(5, 4), n=(5,), z=(3, 4))
  spec = infer.infer(fn, params, infer_cases.normal(2, 3)).spec
  assert [leaf.path for leaf in spec.leaves] == ['z', 'm', 'n', 'a']
  assert [group.size for group in spec.groups] == [4, 5]


def test_what_is_computed_but_not_returned_pins_nothing():
  def fn(params, x):
    hidden = jnp.tanh(x @ params['w'])
    jnp.sort(hidden, axis=-1)
    return hidden @ params['v']

  params = infer_cases.shapes(w=(3, 6), v=(6, 2), unused=(4, 4))
  inferred = infer_cases.found(fn, params, infer_cases.normal(4, 3))
  assert len(inferred.spec.groups) == 1
  assert inferred.report.pin('sort') is None
  assert inferred.report.pin('unused').axes == ('unused:0', 'unused:1')


def test_trees_that_cannot_be_named_raise():
  with pytest.raises(ValueError, match='without arrays'):
    infer.infer(lambda p: 0.0, {})
  twice = {'a/b': jnp.ones(2), 'a': {'b': jnp.ones(2)}}
  with pytest.raises(ValueError, match="same path 'a/b'"):
    infer.infer(lambda p: 0.0, twice)


@pytest.mark.parametrize('name', ['rope_gptj_dense', 'rope_qk_norm'])
def test_random_rotations_of_pairs_hold(name):
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    fn, params, inputs, _, kinds = corpus.made(name)
    inferred = infer.infer(fn, params, *inputs)
    drawn = infer.draw((params, inputs), jax.random.key(0))
    assert infer.verify(inferred, fn, *drawn, jax.random.key(1)) < 1e-5
  (gauge,) = [g for g in inferred.report.gauges if g.kind in ('complex', 'rotation')]
  assert f'{gauge.kind}2x2x2' in kinds and 'rotations' in str(gauge)
  element = np.asarray(gauge.random(jax.random.key(2)))
  np.testing.assert_allclose(element[..., 0, :], element[..., 1, ::-1] * np.array([1, -1]))
  assert np.allclose(np.linalg.det(element), 1) == (gauge.kind == 'rotation')


def test_verify_sees_a_wrong_spec():
  case = strategies.make_mlp((5, 4, 3, 2), 'relu')
  inferred = infer.infer(case.forward, case.params(0), case.inputs(0))
  args = (case.forward, case.params(0), [case.inputs(0)], jax.random.key(0))
  assert infer.verify(inferred, *args) < 1e-5
  leaves = list(inferred.spec.leaves)
  leaves[1] = dataclasses.replace(leaves[1], axes=(spec_lib.PINNED,))
  spec = spec_lib.Spec(inferred.spec.groups, tuple(leaves))
  wrong = dataclasses.replace(inferred, spec=spec)
  assert infer.verify(wrong, *args) > 1e-3
