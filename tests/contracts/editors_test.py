"""Every editor obeys its contract, and so do the residual networks around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from wsjax import config, testing
from wsjax.layers import residual
from wsjax.models import cnn, mlp, siren
from wsjax.testing import encoders as contract

NAMES = config.plugins('editors')
ARCHITECTURES = {
  'relu mlp': mlp.MLP((6, 5, 4, 3), 'relu'),
  'siren': siren.SIREN((2, 6, 5, 1)),
  'cnn': cnn.CNN((8, 8, 1), (4, 3), (), 3),
}


@pytest.fixture(params=NAMES)
def name(request):
  return request.param


# The convolutions have the symmetries of relu.
@pytest.fixture(params=marks.slow(ARCHITECTURES, 'relu mlp', 'siren'))
def architecture(request):
  return ARCHITECTURES[request.param]


def make(name, architecture, **options):
  return config.build('editors', {'name': name, 'architecture': architecture, **options})


def error(module, architecture, kinds):
  """Of acting before against acting after."""
  spec, params = architecture.spec, contract.weights(architecture)
  variables = jax.jit(module.init)(jax.random.key(0), params)
  return testing.assert_law(
    jax.jit(lambda params: module.apply(variables, params)),
    params,
    spec,
    lambda g, value: spec.act(g, value),
    kinds=kinds,
    key=jax.random.key(1),
    tolerance=testing.TOLERANCE,
  )


def test_an_editor_obeys_its_contract(name, architecture):
  testing.check_editor(make(name, architecture), architecture)


@pytest.mark.slow
def test_edited_weights_fit_the_architecture_and_are_close(name, architecture):
  """At first an edit is small beside the weights, and of their own size."""
  params = contract.weights(architecture)
  scales = tuple((path, float(jnp.sqrt(jnp.mean(x**2)))) for path, x in params.items())
  module = residual.Residual(make(name, architecture), scales)
  variables = jax.jit(module.init)(jax.random.key(0), params)
  many = jax.tree.map(lambda x: jnp.stack([x, 2 * x, x]), params)
  edited = jax.jit(jax.vmap(lambda p: module.apply(variables, p)))(many)
  architecture.spec.check(edited, stacked=True)
  for path, scale in scales:
    change = np.asarray(edited[path] - many[path])
    assert 0 < np.abs(change).mean() < 0.1 * scale
    np.testing.assert_allclose(change[0], change[2], rtol=1e-5)
    assert not np.allclose(change[0], change[1], rtol=1e-3)


def test_what_is_added_to_weights_keeps_the_symmetry(name):
  architecture = ARCHITECTURES['siren']
  editor = make(name, architecture)
  scales = tuple((leaf.path, 0.3) for leaf in architecture.spec.leaves)
  module = residual.Residual(editor, scales)
  error(module, architecture, type(editor).EQUIVARIANT_TO)


@pytest.mark.slow
def test_an_editor_that_runs_the_network_runs_it_as_it_is():
  architecture = ARCHITECTURES['siren']
  params = contract.weights(architecture)
  editor = make('graph_net', architecture, num_probes=5)
  answers = []
  for size in (0.3, 0.6):
    scales = tuple((leaf.path, size) for leaf in architecture.spec.leaves)
    module = residual.Residual(editor, scales)
    variables = jax.jit(module.init)(jax.random.key(0), params)
    # What it says of weights divided by their scale, asked about the network.
    divided = {path: value / size for path, value in params.items()}
    change = jax.jit(editor.apply)({'params': variables['params']['editor']}, divided, raw=params)
    edited = jax.jit(module.apply)(variables, params)
    for path, value in change.items():
      np.testing.assert_allclose(
        edited[path] - params[path], 0.01 * size * value, rtol=1e-3, atol=1e-6
      )
    answers.append(change)
  assert not np.allclose(answers[0]['layer0/bias'], answers[1]['layer0/bias'])
  error(module, architecture, type(editor).EQUIVARIANT_TO)
