"""Rounded weights stay near in function, are counted as they are packed, and pack without loss."""

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import wsjax
from tests import marks
from wsjax.experiments.deploy import rounding
from wsjax.interop import quantized


class Mixed(nn.Module):
  """A convolution, a norm, a layer with several axes of outputs, and one output."""

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.LayerNorm()(nn.Conv(4, (3, 3))(x)))
    x = nn.tanh(nn.DenseGeneral((3, 2))(x.reshape(x.shape[0], -1)))
    return nn.Dense(1)(x.reshape(x.shape[0], -1))


MODELS = {
  'mlp': lambda: wsjax.mlp((12, 24, 16, 4)),
  'cnn': lambda: wsjax.cnn((8, 8, 1), (4, 4), (5,), 3),
  'siren': lambda: wsjax.siren((2, 16, 16, 1)),
  'flax': lambda: wsjax.Model.from_flax(Mixed(), jnp.zeros((1, 6, 6, 2))),
}


def given(name, seed=0):
  model = MODELS[name]()
  params = jax.device_get(model.init(jax.random.key(seed)))
  data = np.random.default_rng(seed).normal(size=(256, *model.input_shape)).astype(np.float32)
  return model, params, data


def error(model, params, made, data):
  outputs = [np.asarray(model.apply(p, data)) for p in (params, quantized.values(made))]
  return float(((outputs[0] - outputs[1]) ** 2).mean() / outputs[0].var())


@pytest.mark.parametrize('name', marks.slow(MODELS, 'flax', 'siren'))
def test_rounding_that_looks_at_inputs_changes_the_function_less(name):
  model, params, data = given(name)
  fresh = np.random.default_rng(1).normal(size=data.shape).astype(np.float32)
  found = {}
  for precision in ('int8', 'int4', 'ternary'):
    for inputs in (data, None):
      made = rounding.quantize(model, params, precision, inputs)
      assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in params.items()}
      found[precision, inputs is None] = error(model, params, made, fresh)
  assert found['int8', False] < 1e-3
  assert found['int8', False] < found['int4', False] < found['ternary', False]
  assert found['int4', False] < found['int4', True]
  assert found['ternary', False] < found['ternary', True]


@pytest.mark.parametrize('name', MODELS)
def test_scales_are_of_outputs_and_vectors_stay_float(name):
  model, params, data = given(name)
  made = rounding.quantize(model, params, 'int4', data)
  for path, value in made.items():
    if params[path].ndim < 2:
      assert isinstance(value, np.ndarray) and value.dtype == params[path].dtype
    elif path not in rounding.keep_of(model):
      assert np.abs(value.codes).max() <= 7 and value.scale.size < value.codes.size
      np.broadcast_shapes(value.scale.shape, value.shape)
      assert value.nbytes == -(-value.codes.size // 2) + 4 * value.scale.size


def test_the_first_layer_of_a_network_of_sines_stays_unless_one_says_otherwise():
  model, params, data = given('siren')
  assert rounding.keep_of(model) == ('layer0/kernel',)
  made = rounding.quantize(model, params, 'int8', data)
  assert (made['layer0/kernel'] == params['layer0/kernel']).all()
  assert isinstance(made['layer1/kernel'], quantized.Quantized)
  coarse = rounding.quantize(model, params, 'int8', data, keep=())
  assert error(model, params, made, data) < error(model, params, coarse, data)
  # Also where the model is a function whose symmetry is inferred.
  own = wsjax.Model.from_function(model.apply, params, data[:2])
  assert rounding.keep_of(own) == ('layer0/kernel',)


def test_layers_are_fitted_to_the_network_before_it_was_rounded():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 20))
  matrix = rng.normal(size=(20, 6))
  codes, scale = rounding.feedback(matrix, features, features, 7)
  plain, wide = rounding.nearest(matrix, 7)
  ours, theirs = (
    np.square(features @ (c * s - matrix)).mean() for c, s in ((codes, scale), (plain, wide))
  )
  assert ours < 0.7 * theirs
  assert set(np.unique(codes)) <= set(range(-7, 8))


@hypothesis.given(st.integers(1, 60), st.sampled_from(sorted(quantized.LEVELS)), st.integers(0, 9))
def test_packing_is_lossless_in_numpy_and_in_jax(size, precision, seed):
  levels = quantized.LEVELS[precision]
  codes = np.random.default_rng(seed).integers(-levels, levels + 1, size).astype(np.int8)
  packed = quantized.pack(codes, precision)
  assert packed.nbytes == quantized.Quantized(codes, np.ones(1, 'f'), precision).nbytes - 4
  np.testing.assert_array_equal(quantized.unpack(packed, precision, (size,)), codes)
  traced = quantized.unpack(jnp.asarray(packed), precision, (size,), jnp)
  np.testing.assert_array_equal(traced, codes)


def test_a_packed_file_is_read_back_and_damage_is_one_sentence(tmp_path):
  model, params, data = given('mlp')
  made = rounding.quantize(model, params, 'ternary', data)
  path = tmp_path / 'net.safetensors'
  quantized.write(path, made)
  back = quantized.read(path)
  for name, value in quantized.values(made).items():
    np.testing.assert_array_equal(back[name], value)
  from wsjax.interop import safetensors

  safetensors.write(path, {'a': np.ones(3, 'f')})
  with pytest.raises(ValueError, match='no packed file'):
    quantized.read(path)
  for facts in ('{"a": {"precision": "int8", "shape": [3]}}', '{"a": 1}', '[]', '{'):
    safetensors.write(path, {'a': np.ones(2, 'u1')}, {'wsjax.quantized': facts})
    with pytest.raises(ValueError, match='net.safetensors'):
      quantized.read(path)


@pytest.mark.parametrize(
  ('words', 'options'),
  [('precision is', {'precision': 'int2'}), ('keep names', {'keep': ('layer9/kernel',)})],
)
def test_wrong_options_are_refused(words, options):
  model, params, data = given('mlp')
  with pytest.raises(ValueError, match=words):
    rounding.quantize(model, params, **{'precision': 'int8', 'data': data, **options})
