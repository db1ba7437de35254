"""Every encoder: invariant to what it says, and to no less."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from wsjax import config, testing
from wsjax.models import cnn, mlp, siren
from wsjax.symmetry import spec as spec_lib

NAMES = config.plugins('encoders')
ARCHITECTURES = {
  'relu mlp': mlp.MLP((6, 5, 4, 3), 'relu'),
  'tanh mlp': mlp.MLP((6, 5, 4, 3), 'tanh'),
  'siren': siren.SIREN((2, 6, 5, 1)),
  'cnn': cnn.CNN((8, 8, 1), (4, 3), (), 3),
}


def make(name, architecture):
  section = {'name': name, 'architecture': architecture}
  module = importlib.import_module(f'wsjax.encoders.{name}')
  if 'depth' in inspect.signature(module.make).parameters:
    section['depth'] = 2  # The laws hold layer by layer; compiling takes long.
  return config.build('encoders', section)


@pytest.fixture(params=NAMES)
def name(request):
  return request.param


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
  return ARCHITECTURES[request.param]


def weights(architecture, seed=0):
  params = architecture.init(jax.random.key(seed))
  # Biases that are all 0 have no order to be read.
  return {
    path: value
    if path.endswith('kernel')
    else value + 0.1 * jax.random.normal(jax.random.key(seed + 1), value.shape)
    for path, value in params.items()
  }


def test_the_embedding_ignores_what_it_says_it_ignores(name, architecture):
  encoder = make(name, architecture)
  kinds = type(encoder).INVARIANT_TO
  assert set(kinds) <= set(spec_lib.KINDS)
  if kinds:
    testing.assert_invariant(encoder, architecture.spec, weights(architecture), kinds=kinds)


def test_the_embedding_sees_what_it_does_not_claim_to_ignore(name):
  """A claim that is too small hides a symmetry; this one has all of them."""
  architecture = ARCHITECTURES['siren']
  encoder = make(name, architecture)
  rest = [kind for kind in ('permutation', 'sign') if kind not in type(encoder).INVARIANT_TO]
  for kind in rest:
    with pytest.raises(AssertionError, match=f'invariant to {kind}'):
      testing.assert_invariant(encoder, architecture.spec, weights(architecture), kinds=(kind,))


# Gradients take long to compile; where they are finite on convolutions they have been on the
# others.
@pytest.mark.parametrize(
  'architecture', marks.slow(ARCHITECTURES, 'relu mlp', 'tanh mlp', 'siren'), indirect=True
)
def test_networks_are_batched_by_vmap_and_gradients_are_finite(name, architecture):
  encoder = make(name, architecture)
  one, two = weights(architecture), weights(architecture, 5)
  stacked = jax.tree.map(lambda *x: jnp.stack(x), one, two)
  variables = jax.jit(encoder.init)(jax.random.key(2), one)

  @jax.jit
  def embed(variables, stacked):
    return jax.vmap(lambda p: encoder.apply(variables, p))(stacked)

  both = embed(variables, stacked)
  assert both.ndim == 2 and both.dtype == jnp.float32
  alone = jax.jit(encoder.apply)(variables, one)
  np.testing.assert_allclose(both[0], alone, rtol=1e-4, atol=1e-5)
  assert not np.allclose(both[0], both[1])
  gradients = jax.grad(lambda v: jnp.sum(embed(v, stacked) ** 2))(variables)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_training_draws_dropout_from_its_own_stream(name):
  architecture = ARCHITECTURES['relu mlp']
  encoder = make(name, architecture)
  params = weights(architecture)
  variables = jax.jit(encoder.init)(jax.random.key(0), params)
  trained = jax.jit(lambda v, p, key: encoder.apply(v, p, train=True, rngs={'dropout': key}))(
    variables, params, jax.random.key(1)
  )
  assert trained.ndim == 1 and np.isfinite(trained).all()
