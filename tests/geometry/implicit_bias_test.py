"""Norms, ranks and margins of networks in which they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from tests import strategies
from wsjax.geometry import implicit_bias
from wsjax.symmetry import spec as spec_lib

MODEL = wsjax.mlp((4, 3))


@pytest.fixture(scope='module')
def linear():
  """Two linear maps 4 -> 3: rotations of diagonals, and data [6, 4] with labels."""
  rng = np.random.default_rng(0)
  kernels = []
  for diagonal in ([3.0, 2.0, 1.0], [5.0, 0.0, 0.0]):
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (4, 3))
    kernels.append(left[:, :3] @ np.diag(diagonal) @ right)
  nets = {MODEL.spec.leaves[0].path: np.stack(kernels).astype(np.float32)}
  bias = MODEL.spec.leaves[1]
  nets[bias.path] = np.zeros((2, *bias.shape), np.float32)
  x = rng.normal(size=(6, 4)).astype(np.float32)
  return nets, x, np.arange(6) % 3


def test_norms_and_ranks_are_those_of_the_singular_values(linear):
  found = implicit_bias.measures(MODEL, linear[0])
  np.testing.assert_allclose(found['norm'], [np.sqrt(14), 5], rtol=1e-5)
  np.testing.assert_allclose(found['spectral norms'], np.log([3, 5]), rtol=1e-5)
  np.testing.assert_allclose(found['Frobenius norms'], np.log([np.sqrt(14), 5]), rtol=1e-5)
  np.testing.assert_allclose(found['stable rank'], [14 / 9, 1], rtol=1e-5)
  share = np.array([3, 2, 1]) / 6
  want = np.exp(-np.sum(share * np.log(share))), 1
  np.testing.assert_allclose(found['effective rank'], want, rtol=1e-4)
  assert 'margin' not in found


def test_the_margin_is_the_lead_of_the_label_over_the_spectral_norm(linear):
  nets, x, y = linear
  found = implicit_bias.measures(MODEL, nets, x, y)
  for net, kernel in enumerate(nets[MODEL.spec.leaves[0].path]):
    logits = x @ kernel
    lead = [row[label] - np.delete(row, label).max() for row, label in zip(logits, y, strict=True)]
    norm = np.linalg.norm(kernel, 2)
    np.testing.assert_allclose(found['margin'][net], np.median(lead) / norm, rtol=1e-4)
    low = np.quantile(lead, 0.1) / norm
    np.testing.assert_allclose(found['margin 10 %'][net], low, rtol=1e-4, atol=1e-6)


def test_the_path_norm_sums_the_squares_of_all_paths():
  model = wsjax.mlp((2, 3, 2))
  nets = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 4))
  nets = {path: value + 0.1 for path, value in nets.items()}
  found = implicit_bias.measures(model, nets)['path norm']
  paths = [leaf.path for leaf in model.spec.leaves]
  for row in range(4):
    w, b, v, c = (np.asarray(nets[path][row], np.float64) ** 2 for path in paths)
    total = (w @ v).sum() + (b @ v).sum() + c.sum()
    np.testing.assert_allclose(found[row], np.log(total) / 2, rtol=1e-5)


def test_reordering_changes_nothing_and_rescaling_not_the_path_norm():
  model = wsjax.mlp((5, 6, 4, 3))
  nets = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 3))
  x, y = jax.random.normal(jax.random.key(1), (20, 5)), jnp.arange(20) % 3
  found = implicit_bias.measures(model, nets, x, y)

  def moved(spec):
    elements = jax.vmap(spec.random)(jax.random.split(jax.random.key(2), 3))
    return implicit_bias.measures(model, spec.act(elements, nets), x, y)

  reordered = moved(model.spec.permutations_only())
  for name, values in found.items():
    np.testing.assert_allclose(reordered[name], values, rtol=1e-3, err_msg=name)
  rescaled = moved(model.spec)
  np.testing.assert_allclose(rescaled['path norm'], found['path norm'], rtol=1e-4)
  assert np.abs(rescaled['spectral norms'] / found['spectral norms'] - 1).max() > 0.05


def test_a_planted_difference_is_told_and_none_is_not():
  rng = np.random.default_rng(0)
  classes = np.repeat(['adam', 'sgd'], 60)
  features = rng.normal(size=(120, 4))
  chance = np.mean(implicit_bias.told(features, classes, num_trees=40) == classes)
  assert 0.3 < chance < 0.7
  features[:60, 2] += 4
  assert np.mean(implicit_bias.told(features, classes, num_trees=40) == classes) > 0.9
  with pytest.raises(ValueError, match='1 networks; 5 folds'):
    implicit_bias.told(features[:61], classes[:61])


def test_kernels_are_matrices_to_the_outputs_in_both_layouts():
  case = strategies.make_cnn((3, 4), 5)
  nets = case.params(0, num=2)
  matrices = [value.reshape(2, -1, value.shape[-1]) for value in nets.values() if value.ndim > 2]
  want = sum(np.log(np.linalg.norm(matrix, 2, axis=(1, 2))) for matrix in matrices)
  found = implicit_bias.measures(case.model, nets)
  np.testing.assert_allclose(found['spectral norms'], want, rtol=1e-4)
  # PyTorch: [out, in, height, width].
  leaf = spec_lib.Leaf('layer/weight', (3, 2, 2, 2), (spec_lib.PINNED,) * 4)
  one = {leaf.path: np.random.default_rng(0).normal(size=leaf.shape).astype(np.float32)}
  model = wsjax.Model.from_function(
    lambda params, x: x, one, np.zeros((1, 2)), spec=spec_lib.Spec((), (leaf,))
  )
  found = implicit_bias.measures(model, {leaf.path: one[leaf.path][None]})
  want = np.log(np.linalg.norm(one[leaf.path].reshape(3, 8), 2))
  np.testing.assert_allclose(found['spectral norms'], [want], rtol=1e-5)


def test_sparsity_and_kurtosis_have_their_values_at_the_extremes():
  kernel, bias = (leaf.path for leaf in MODEL.spec.leaves)
  equal = np.where(np.arange(12) % 2, 1, -1).reshape(4, 3)
  single = np.eye(4, 3) * [7, 0, 0]
  nets = {kernel: np.float32([equal, single]), bias: np.zeros((2, 3), np.float32)}
  found = implicit_bias.measures(MODEL, nets)
  np.testing.assert_allclose(found['sparsity'], [0, 1], atol=1e-5)
  # One of 12 weights: deviation 7 sqrt(p (1 - p)), kurtosis (1 - 6 p (1 - p)) / (p (1 - p)).
  p = 1 / 12 * 11 / 12
  np.testing.assert_allclose(found['kurtosis'], [-2, (1 - 6 * p) / p], rtol=1e-4)


@pytest.mark.parametrize('exponent', [2.0, 3.5])
def test_the_tail_exponent_is_that_of_a_power_law(exponent):
  share = (np.arange(4_000) + 0.5) / 4_000
  squares = share ** (-1 / (exponent - 1))  # Quantiles of that law.
  found = implicit_bias.tail_exponent(jnp.asarray(np.sqrt(squares)))
  assert found == pytest.approx(exponent, rel=0.01)


def test_low_ranks_and_equal_values_have_finite_tails():
  for values in ([1.0, 0, 0, 0], [2.0, 2, 2, 2]):
    assert np.isfinite(implicit_bias.tail_exponent(jnp.array(values)))


def test_a_model_is_compiled_once_and_needs_a_matrix(linear):
  nets, x, y = linear
  implicit_bias.measures(MODEL, nets, x, y)
  count = implicit_bias._measured._cache_size()
  implicit_bias.measures(wsjax.mlp((4, 3)), {k: 2 * v for k, v in nets.items()}, x + 1, y)
  assert implicit_bias._measured._cache_size() == count
  leaf = spec_lib.Leaf('scale', (2,), (spec_lib.PINNED,))
  model = wsjax.Model.from_function(
    lambda params, x: x, {'scale': np.ones(2)}, np.zeros((1, 2)), spec=spec_lib.Spec((), (leaf,))
  )
  with pytest.raises(ValueError, match='no weight matrix'):
    implicit_bias.measures(model, {'scale': np.ones((3, 2))})
