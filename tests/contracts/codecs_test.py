"""Every codec inverts itself on the span of the networks, and says what it loses elsewhere."""

import numpy as np
import pytest

from wsjax import codecs, config, testing
from wsjax.codecs import identity

OPTIONS = {'pca': {'rank': 4}, 'vae': {'rank': 4, 'kl_weight': 1e-4, 'width': 16, 'steps': 50}}
# A codec that is trained by gradients ends near its best, not at it; tokens here are of size 2.
TOLERANCE = {'vae': 0.1}


@pytest.mark.parametrize('name', config.plugins('codecs'))
def test_a_codec_keeps_the_contract(name):
  codec = config.build('codecs', {'name': name, **OPTIONS.get(name, {})})
  testing.check_codec(codec, tolerance=TOLERANCE.get(name, 1e-4))


@pytest.mark.parametrize('name', config.plugins('codecs'))
def test_the_reconstruction_error_is_that_of_decoded_networks(name):
  codec = config.build('codecs', {'name': name, **OPTIONS.get(name, {})})
  x, other = np.random.default_rng(0).standard_normal((2, 20, 3, 5)).astype(np.float32)
  state = codec.fit(x)
  back = np.asarray(codec.decode(state, codec.encode(state, other)))
  want = np.linalg.norm((other - back).reshape(20, -1), axis=1)
  want /= np.linalg.norm(other.reshape(20, -1), axis=1)
  np.testing.assert_allclose(codecs.reconstruction_error(codec, state, other), want, atol=1e-5)


def test_a_codec_that_loses_something_is_caught():
  class Rounding(identity.Identity):
    def encode(self, state, x):
      return np.round(x)

  with pytest.raises(AssertionError, match='misses the tokens'):
    testing.check_codec(Rounding())
