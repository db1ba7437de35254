"""Every codec: shapes, vmap, and a ceiling that tells the truth."""

import jax
import numpy as np
import pytest

from wsjax import config

OPTIONS = {'linear': {'rank': 4}}
NAMES = config.plugins('embed.codecs')


@pytest.fixture(params=NAMES)
def fitted(request):
  options = OPTIONS.get(request.param, {})
  codec = config.build('embed.codecs', {'name': request.param, **options})
  rng = np.random.default_rng(0)
  low = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 3 * 5))
  x = (1 + low).reshape(20, 3, 5).astype(np.float32)
  return codec, codec.fit(x), x


def test_decoding_inverts_encoding_on_the_span(fitted):
  codec, state, x = fitted
  z = codec.encode(state, x)
  assert z.shape[0] == len(x) and z.ndim == 3
  np.testing.assert_allclose(codec.decode(state, z), x, atol=1e-4)


def test_one_network_and_a_stack_agree(fitted):
  codec, state, x = fitted
  z = codec.encode(state, x)
  one = jax.vmap(lambda x: codec.encode(state, x))(x)
  np.testing.assert_allclose(one, z, atol=1e-5)
  back = jax.jit(jax.vmap(lambda z: codec.decode(state, z)))(z)
  np.testing.assert_allclose(back, codec.decode(state, z), atol=1e-5)


def test_the_ceiling_is_the_reconstruction_error(fitted):
  codec, state, x = fitted
  other = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
  back = np.asarray(codec.decode(state, codec.encode(state, other)))
  error = np.linalg.norm((other - back).reshape(20, -1), axis=1)
  want = error / np.linalg.norm(other.reshape(20, -1), axis=1)
  np.testing.assert_allclose(codec.ceiling(state, other), want, atol=1e-5)
