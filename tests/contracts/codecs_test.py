"""Every codec: shapes, vmap, and a ceiling that tells the truth."""

import jax
import numpy as np
import pytest

from wsjax import codecs, config

OPTIONS = {'pca': {'rank': 4}, 'vae': {'rank': 4, 'kl_weight': 1e-4, 'width': 16, 'steps': 50}}
# A codec that is trained by gradients ends near its best, not at it; tokens here are of size 2.
TOLERANCE = {'vae': 0.1}
NAMES = config.plugins('codecs')


@pytest.fixture(params=NAMES, scope='module')
def fitted(request):
  options = OPTIONS.get(request.param, {})
  codec = config.build('codecs', {'name': request.param, **options})
  tolerance = TOLERANCE.get(request.param, 1e-4)
  rng = np.random.default_rng(0)
  low = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 3 * 5))
  x = (1 + low).reshape(20, 3, 5).astype(np.float32)
  return codec, codec.fit(x), x, tolerance


def test_decoding_inverts_encoding_on_the_span(fitted):
  codec, state, x, tolerance = fitted
  z = codec.encode(state, x)
  assert z.shape[0] == len(x) and z.ndim == 3
  np.testing.assert_allclose(codec.decode(state, z), x, atol=tolerance)


def test_one_network_and_a_stack_agree(fitted):
  codec, state, x, _ = fitted
  z = codec.encode(state, x)
  one = jax.vmap(lambda x: codec.encode(state, x))(x)
  np.testing.assert_allclose(one, z, atol=1e-5)
  back = jax.jit(jax.vmap(lambda z: codec.decode(state, z)))(z)
  np.testing.assert_allclose(back, codec.decode(state, z), atol=1e-5)


def test_the_ceiling_is_the_reconstruction_error(fitted):
  codec, state, x, _ = fitted
  other = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
  back = np.asarray(codec.decode(state, codec.encode(state, other)))
  error = np.linalg.norm((other - back).reshape(20, -1), axis=1)
  want = error / np.linalg.norm(other.reshape(20, -1), axis=1)
  np.testing.assert_allclose(codecs.reconstruction_error(codec, state, other), want, atol=1e-5)
