import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import config, sine
from wsjax.models import cnn, mlp, model, siren


def test_record_gives_back_an_equal_architecture():
  for name in config.plugins('models'):
    one = config.build('models', {'name': name})
    two = model.from_record(one.name, one.config)
    assert one == two and hash(one) == hash(two)
    assert one.spec == two.spec


def test_mlp_is_the_numpy_mlp():
  net = mlp.MLP((6, 5, 3), 'tanh', 'torch_uniform')
  params = jax.jit(net.init)(jax.random.key(0))
  x = np.random.default_rng(0).standard_normal((4, 2, 3, 1), np.float32)
  p = {key: np.asarray(value, np.float64) for key, value in params.items()}
  hidden = np.tanh(x.reshape(4, 6) @ p['layer0/kernel'] + p['layer0/bias'])
  expected = hidden @ p['layer1/kernel'] + p['layer1/bias']
  np.testing.assert_allclose(net.apply(params, x), expected, atol=1e-5)


def test_cnn_layer_is_the_convolution_of_lax():
  net = cnn.CNN((6, 7, 2), (3,), (), 4, 'relu', 1)
  params = jax.jit(net.init)(jax.random.key(1))
  x = np.random.default_rng(0).standard_normal((2, 6, 7, 2), np.float32)
  hidden = jax.lax.conv_general_dilated(
    x, params['conv0/kernel'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  hidden = jax.nn.relu(hidden).reshape(2, -1)
  expected = hidden @ params['dense0/kernel']
  np.testing.assert_allclose(net.apply(params, x), expected, atol=1e-5)


def test_pooling_takes_means_and_cuts_the_rest():
  net = cnn.CNN((5, 4, 1), (2,), (), 3, 'relu', 2)
  assert dict((leaf.path, leaf.shape) for leaf in net.spec.leaves)['dense0/kernel'] == (
    2 * 2 * 2,
    3,
  )


def test_sine_agrees_with_float64_and_so_does_its_derivative():
  x = np.random.default_rng(0).uniform(-1e4, 1e4, 200_000).astype(np.float32)
  x = np.concatenate([x, np.linspace(-50, 50, 100_001, dtype=np.float32)])
  exact = x.astype(np.float64)
  value = jax.jit(sine.sine)(x)
  slope = jax.jit(jax.vmap(jax.grad(sine.sine)))(x)
  assert np.abs(value - np.sin(exact)).max() < 2e-7
  assert np.abs(slope - np.cos(exact)).max() < 2e-7


def test_siren_starts_with_unit_phases():
  net = siren.SIREN((2, 64, 64, 1), 30.0)
  params = jax.jit(net.init)(jax.random.key(0))
  assert np.abs(params['layer0/kernel']).max() <= 1 / 2
  assert np.abs(params['layer1/kernel']).max() <= np.sqrt(6 / 64) / 30
  assert net.spec.groups[0].half_turn == pytest.approx(np.pi / 30)


def test_inits_have_their_standard_deviation():
  key = jax.random.key(0)
  expected = {
    'lecun_normal': (1 / 256) ** 0.5,
    'he_normal': (2 / 256) ** 0.5,
    'glorot_uniform': (2 / (256 + 128)) ** 0.5,
    'torch_uniform': (1 / 3 / 256) ** 0.5,
  }
  assert set(expected) == set(mlp.INITIALIZERS)
  for init, std in expected.items():
    params = mlp.MLP((256, 128, 2), 'relu', init).init(key)
    assert float(jnp.std(params['layer0/kernel'])) == pytest.approx(std, 0.02)


@pytest.mark.parametrize(
  ('call', 'words'),
  [
    (lambda: mlp.MLP((4, 3, 2), 'cosine'), 'activation.*relu'),
    (lambda: mlp.MLP((4, 3, 2), 'relu', 'zeros'), 'initializer.*lecun_normal'),
    (lambda: mlp.MLP((4,)), 'widths'),
    (lambda: mlp.MLP((4, 0, 2)), 'widths'),
    (lambda: cnn.CNN((4, 4, 1), (2, 2, 2)), 'pixels left'),
    (lambda: cnn.CNN((4, 4)), 'image'),
    (lambda: siren.SIREN((2, 1)), 'hidden layer'),
    (lambda: siren.SIREN(omega=0), 'omega'),
    (lambda: model.from_record('vgg', {}), 'vgg'),
    (lambda: model.from_record('os:getcwd', {}), 'os:getcwd'),
    (lambda: model.from_record('mlp', {'widths': 'abc'}), 'widths'),
    (lambda: model.from_record('mlp', {'activation': ['relu']}), 'activation'),
  ],
)
def test_bad_arguments_say_what_is_allowed(call, words):
  with pytest.raises(ValueError, match=words):
    call()
