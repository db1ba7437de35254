"""Modules that were planted, and classes that have units of their own by construction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from tests import strategies
from wsjax.geometry import modularity

MODEL = wsjax.mlp((8, 8, 8))
PATHS = [leaf.path for leaf in MODEL.spec.leaves]


def network(*kernels):
  biases = (np.zeros(8), np.zeros(8))
  return dict(zip(PATHS, (kernels[0], biases[0], kernels[1], biases[1]), strict=True))


@pytest.fixture(scope='module')
def planted():
  """Two modules: even units of each layer are linked with even ones, and odd with odd."""
  rng = np.random.default_rng(0)
  same = (np.arange(8)[:, None] - np.arange(8)) % 2 == 0
  return network(*(np.where(same, rng.normal(size=(8, 8)), 0.01) for _ in range(2)))


def test_the_graph_has_the_weights_between_units(planted):
  graph = modularity.adjacency(planted, MODEL.spec)
  assert graph.shape == (24, 24)
  np.testing.assert_allclose(graph, graph.T)
  np.testing.assert_allclose(np.sort(graph[graph > 0])[::2], np.sort(
    np.abs(np.concatenate([planted[PATHS[0]].ravel(), planted[PATHS[2]].ravel()]))
  ), rtol=1e-6)  # fmt: skip


def test_planted_modules_are_found(planted):
  graph = modularity.adjacency(planted, MODEL.spec)
  labels = modularity.modules(graph, 2)
  parity = np.tile(np.arange(8) % 2, 3)
  assert len(set(zip(labels, parity, strict=True))) == 2
  cut, shuffled = modularity.against_shuffled(planted, MODEL.spec, count=2)
  assert cut < 0.05
  assert cut < shuffled.min() - 5 * shuffled.std()


def test_random_weights_have_no_more_modules_than_shuffled_ones():
  rng = np.random.default_rng(1)
  below = []
  for _ in range(8):
    net = network(rng.normal(size=(8, 8)), rng.normal(size=(8, 8)))
    cut, shuffled = modularity.against_shuffled(net, MODEL.spec, count=2)
    below.append(np.mean(shuffled <= cut))
  assert 0.2 < np.mean(below) < 0.8  # A uniform rank has the mean 0.5 and here a deviation of 0.1.


def test_the_cut_of_two_cliques_is_that_of_their_link():
  graph = np.zeros((6, 6))
  graph[:3, :3] = graph[3:, 3:] = 1
  np.fill_diagonal(graph, 0)
  graph[2, 3] = graph[3, 2] = 1
  labels = np.repeat([0, 1], 3)
  assert modularity.normalized_cut(graph, labels) == pytest.approx(2 / 7)
  assert modularity.newman(graph, labels) == pytest.approx(6 / 7 - 1 / 2)
  assert modularity.newman(graph, np.zeros(6, int)) == pytest.approx(0)
  np.testing.assert_array_equal(modularity.modules(graph, 2) == modularity.modules(graph, 2)[0],
                                labels == 0)  # fmt: skip


def test_a_unit_without_weights_is_in_no_module(planted):
  dead = {path: np.array(value) for path, value in planted.items()}
  dead[PATHS[0]][:, 3] = dead[PATHS[2]][3] = 0
  labels = modularity.modules(modularity.adjacency(dead, MODEL.spec), 2)
  assert labels[11] == 2 and np.sum(labels == 2) == 1


def test_classes_with_units_of_their_own_share_none():
  # Input i turns on the hidden units 2i and 2i + 1, which vote for class i.
  model = wsjax.mlp((4, 8, 4))
  names = [leaf.path for leaf in model.spec.leaves]
  wiring = np.kron(np.eye(4), np.ones((1, 2))).astype(np.float32)
  zeros = np.zeros(8, np.float32), np.zeros(4, np.float32)
  net = dict(zip(names, (wiring, zeros[0], wiring.T, zeros[1]), strict=True))
  x, y = np.tile(np.eye(4, dtype=np.float32), (5, 1)), np.tile(np.arange(4), 5)
  found = jax.jit(lambda net: modularity.class_units(model, net, x, y, num_classes=4))(net)
  # One of its two units is enough.
  assert np.asarray(found).sum(axis=1).tolist() == [1, 1, 1, 1]
  owner = np.repeat(np.arange(4), 2)
  assert [owner[np.argmax(row)] for row in np.asarray(found)] == [0, 1, 2, 3]
  assert modularity.overlap(found) == 0


def test_overlap_is_one_where_sets_are_independent():
  chosen = np.random.default_rng(0).random((10, 2000)) < 0.3
  assert modularity.overlap(chosen) == pytest.approx(1, abs=0.05)
  assert modularity.overlap(np.tile(np.arange(10) < 5, (2, 1))) == pytest.approx(2)
  assert np.isnan(modularity.overlap(np.zeros((3, 4), bool)))


def test_newman_finds_planted_modules_too(planted):
  found, shuffled = modularity.against_shuffled(
    planted, MODEL.spec, count=2, measure=modularity.newman
  )
  assert found == pytest.approx(0.5, abs=0.03)  # Two equal modules without links.
  z, p = modularity.beside(found, shuffled, low=False)
  assert z > 5 and p == pytest.approx(1 / 21)


def test_z_and_p_are_those_of_the_null():
  null = np.arange(1.0, 20.0)
  z, p = modularity.beside(0.0, null, low=True)
  assert z == pytest.approx(-10 / null.std(ddof=1)) and p == pytest.approx(1 / 20)
  assert modularity.beside(0.0, null, low=False)[1] == 1
  assert modularity.beside(10.0, null, low=True)[1] == pytest.approx(11 / 20)
  assert np.isnan(modularity.beside(1.0, np.ones(5), low=True)[0])


def test_parts_without_any_link_are_modules():
  graph = np.kron(np.eye(2), np.ones((4, 4)) - np.eye(4))
  labels = modularity.modules(graph, 2)
  assert modularity.normalized_cut(graph, labels) == 0 and len(set(labels)) == 2
  with pytest.raises(ValueError, match='8 units with weights; 8 modules'):
    modularity.modules(graph, 8)


def test_importance_is_minus_activation_times_gradient():
  case = strategies.make_mlp((5, 4, 3), 'tanh')
  params, x, y = case.params(0), case.inputs(0, num=9), np.arange(9) % 3
  found = modularity.importance(case.model, params, x, y, num_classes=3)
  hidden = np.tanh(x @ params['layer0/kernel'] + params['layer0/bias'][None])

  def loss(hidden):
    logits = hidden @ params['layer1/kernel'] + params['layer1/bias'][None]
    return -jax.nn.log_softmax(logits)[np.arange(9), y].sum()

  each = -hidden * jax.grad(loss)(hidden)
  want = [each[y == number].sum(axis=0) for number in range(3)]
  np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-5)


def test_importance_of_a_channel_is_that_of_its_kernel_where_scaling_passes_through():
  case = strategies.make_cnn((3, 4), 5)
  params, x, y = case.params(0), case.inputs(0), np.arange(6) % 2
  found = jax.jit(lambda p: modularity.importance(case.model, p, x, y, num_classes=2))(params)

  @jax.jit
  def loss(scale):
    scaled = {'layer1/kernel': params['layer1/kernel'] * scale[None, None, None],
              'layer1/bias': params['layer1/bias'] * scale}  # fmt: skip
    return -jax.nn.log_softmax(case.forward(params | scaled, x))[np.arange(6), y].sum()

  np.testing.assert_allclose(
    np.asarray(found).sum(axis=0)[3:7], -jax.grad(loss)(jnp.ones(4)), rtol=1e-3, atol=1e-5
  )


def test_subspaces_have_the_angles_they_were_made_with():
  rng = np.random.default_rng(0)
  angle = 0.4
  ends = np.eye(6)[:2], np.stack([np.eye(6)[0], np.cos(angle) * np.eye(6)[1] +
                                  np.sin(angle) * np.eye(6)[2]])  # fmt: skip
  a, b = (rng.normal(size=(20, 2)) @ end + 5 for end in ends)
  np.testing.assert_allclose(modularity.angles(a, b, 2), [0, angle], atol=1e-6)
  found = modularity.shared_subspace(a, b, 2)
  assert found['across'] == pytest.approx((1 + np.cos(angle) ** 2) / 2)
  assert found['within'] == pytest.approx(1)
  assert found['chance'] == pytest.approx(1 / 3)
  with pytest.raises(ValueError, match='k is 20'):
    modularity.angles(a, b, 20)


def test_random_sets_share_no_more_than_chance():
  a, b = np.random.default_rng(0).normal(size=(2, 60, 200))
  found = modularity.shared_subspace(a, b, 10)
  # Mean of 10 x 10 squared products of random unit vectors: deviation 0.007.
  assert found['across'] == pytest.approx(found['chance'], abs=0.02)
  assert found['within'] == pytest.approx(found['chance'], abs=0.02)
