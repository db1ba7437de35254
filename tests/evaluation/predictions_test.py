"""Reduced predictions are those of a slow loop; calibration among them."""

import jax
import numpy as np
import pytest

from tests.reference import evaluation as reference
from wsjax.evaluation import baselines, predictions
from wsjax.models import mlp


@pytest.fixture(scope='module')
def case():
  architecture = mlp.MLP(widths=(6, 8, 4))
  params = jax.vmap(architecture.init)(jax.random.split(jax.random.key(0), 7))
  params = {path: 3 * np.asarray(value) for path, value in params.items()}
  rng = np.random.default_rng(0)
  inputs = rng.standard_normal((57, 2, 3)).astype(np.float32)
  labels = rng.integers(4, size=57)
  return architecture, params, inputs, labels


def _predict(case):
  architecture, params, inputs, labels = case
  items = predictions.make_items(inputs, labels, block=10)
  return predictions.predict(architecture, params, items)


def test_predictions_are_those_of_one_network_at_a_time(case):
  architecture, params, inputs, labels = case
  ours = _predict(case)
  for i in range(7):
    one = {path: value[i] for path, value in params.items()}
    p = reference.softmax(np.asarray(architecture.apply(one, inputs)))
    correct = p.argmax(axis=1) == labels
    target = np.eye(4)[labels]
    np.testing.assert_array_equal(ours.labels[i], p.argmax(axis=1))
    np.testing.assert_allclose(ours.nll[i], -np.log(p[np.arange(57), labels]), atol=1e-5)
    assert ours.brier[i] == pytest.approx(np.mean(np.sum((p - target) ** 2, axis=1)), rel=1e-4)
    assert ours.ece[i] == pytest.approx(reference.ece(correct, p.max(axis=1)), abs=1e-5)


def test_null_ece_is_that_of_a_calibrated_network(case):
  architecture, params, inputs, labels = case
  ours = _predict(case)
  rng = np.random.default_rng(0)
  for i in range(3):
    one = {path: value[i] for path, value in params.items()}
    confidence = reference.softmax(np.asarray(architecture.apply(one, inputs))).max(axis=1)
    slow = [reference.ece(rng.random(57) < confidence, confidence) for _ in range(300)]
    # Eight draws against many.
    assert abs(ours.ece_null[i] - np.mean(slow)) < 2 * np.std(slow)


def test_calls_of_any_size_give_the_same(case, monkeypatch):
  one = _predict(case)
  monkeypatch.setattr(predictions, '_NETWORKS_PER_CALL', 3)
  other = _predict(case)
  np.testing.assert_array_equal(one.labels, other.labels)
  np.testing.assert_allclose(one.nll, other.nll, atol=1e-5)
  np.testing.assert_allclose(one.ece_null, other.ece_null, atol=1e-5)


def test_other_numbers_of_networks_do_not_compile_again(case):
  architecture, params, inputs, labels = case
  _predict(case)
  size = predictions._call._cache_size()
  fewer = {path: value[:2] for path, value in params.items()}
  _predict((architecture, fewer, inputs, labels))
  assert predictions._call._cache_size() == size


def test_a_network_without_finite_output_is_wrong_everywhere(case):
  architecture, params, inputs, labels = case
  broken = {path: value.copy() for path, value in params.items()}
  broken['layer0/kernel'][2] = np.nan
  ours = _predict((architecture, broken, inputs, labels))
  assert np.all(ours.labels[2] == -1)
  np.testing.assert_allclose(ours.nll[2], np.log(4), rtol=1e-6)
  assert np.all(np.isfinite(ours.nll))


def test_items_need_labels(case):
  with pytest.raises(ValueError, match='57 inputs and 3 labels'):
    predictions.make_items(case[2], case[3][:3])


def test_probes_are_the_same_for_all_networks_of_an_orbit():
  architecture = mlp.MLP(widths=(6, 8, 3))
  rng = np.random.default_rng(0)
  nets = {
    leaf.path: rng.standard_normal((3, *leaf.shape)).astype(np.float32)
    for leaf in architecture.spec.leaves
  }
  items = rng.standard_normal((600, 6))

  def found(nets):
    return predictions.outputs_on_probes(architecture, nets, items)

  here = found(nets)
  assert here.shape == (3, 3 * predictions.NUM_PROBES)
  moved = baselines.move(nets, architecture.spec, seed=1)
  np.testing.assert_allclose(
    here, predictions.outputs_on_probes(architecture, moved, items), atol=1e-4
  )
  shifted = {**nets, 'layer1/bias': nets['layer1/bias'] + 7}
  np.testing.assert_allclose(
    here, predictions.outputs_on_probes(architecture, shifted, items), atol=1e-4
  )
  assert np.abs(here[0] - here[1]).max() > 0.1
  nets['layer0/kernel'][1] = np.nan
  broken = predictions.outputs_on_probes(architecture, nets, items)
  assert not broken[1].any()
  assert broken[0] == pytest.approx(here[0])
