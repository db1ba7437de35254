"""Neurons carry what they answer, and stay where they may be moved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import marks
from wsjax import config, testing
from wsjax.heads import classifier, prediction
from wsjax.models import cnn, mlp, siren
from wsjax.tokens import graph as graph_lib

ARCHITECTURES = {
  'relu mlp': mlp.MLP((6, 5, 4, 3), 'relu'),
  'siren': siren.SIREN((2, 6, 5, 1)),
  'cnn': cnn.CNN((8, 8, 1), (4, 3), (), 3),
}


def make(architecture, name='graph_net', num_probes=5):
  section = dict(name=name, width=8, edge_width=4, depth=2, embedding=16)
  if name == 'graph_transformer':
    section['num_heads'] = 2
  return config.build(
    'encoders', {**section, 'architecture': architecture, 'num_probes': num_probes}
  )


def weights(architecture):
  params = jax.jit(architecture.init)(jax.random.key(0))
  return {
    path: value + 0.1 * jax.random.normal(jax.random.key(1), value.shape)
    for path, value in params.items()
  }


CASES = [
  f'{name} of {kind}' for kind in ARCHITECTURES for name in ('graph_net', 'graph_transformer')
]
LATER = (
  'graph_transformer of siren', 'graph_transformer of cnn', 'graph_net of siren',
  'graph_net of relu mlp', 'graph_transformer of relu mlp',
)  # fmt: skip


@pytest.mark.parametrize('case', marks.slow(CASES, *LATER))
def test_an_encoder_with_probes_ignores_the_order_of_units(case):
  name, _, kind = case.partition(' of ')
  architecture = ARCHITECTURES[kind]
  encoder = make(architecture, name)
  testing.assert_invariant(encoder, architecture.spec, weights(architecture))


@pytest.mark.slow
def test_answers_are_those_of_the_weights_that_are_run():
  """Scaled weights are read; the answers come from the true ones."""
  architecture = ARCHITECTURES['siren']
  encoder, params = make(architecture), weights(architecture)
  variables = jax.jit(encoder.init)(jax.random.key(2), params)
  scales = tuple((path, 0.5) for path in params)
  whole = prediction.Predictor(encoder, classifier.Classifier(3), scales)
  inner = jax.jit(whole.init)(jax.random.key(2), params)
  inner['params']['encoder'] = variables['params']
  divided = {path: value / 0.5 for path, value in params.items()}
  dense = inner['params']['head']['Dense_0']
  expected = jax.jit(encoder.apply)(variables, divided, raw=params)
  np.testing.assert_allclose(
    jax.jit(whole.apply)(inner, params),
    expected @ dense['kernel'] + dense['bias'],
    rtol=1e-5,
    atol=1e-5,
  )
  assert not np.allclose(expected, jax.jit(encoder.apply)(variables, divided))


@pytest.mark.slow
def test_probes_are_learned():
  architecture = ARCHITECTURES['relu mlp']
  encoder, params = make(architecture), weights(architecture)
  variables = jax.jit(encoder.init)(jax.random.key(0), params)
  gradient = jax.grad(lambda v: jnp.sum(encoder.apply(v, params)))(variables)
  questions = gradient['params']['stack']['probed']['questions']
  assert questions.shape == (5, 6) and np.abs(questions).max() > 0


def test_a_graph_cannot_be_run():
  architecture = ARCHITECTURES['relu mlp']
  graph = graph_lib.Graph().tokenize(weights(architecture), architecture.spec)
  with pytest.raises(ValueError, match='cannot be run'):
    make(architecture).init(jax.random.key(0), graph)
