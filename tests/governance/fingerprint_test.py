"""Samples answer like themselves however they are written, and independent networks do not."""

import jax
import numpy as np
import pytest

import wsjax
from wsjax.evaluation import baselines
from wsjax.generators.parts import keyed_noise
from wsjax.governance import attacks, fingerprint

MODEL = wsjax.mlp((8, 12, 6))
KEY, OTHER = keyed_noise.Key(b'k' * 32), keyed_noise.Key(b'o' * 32)
INPUTS = np.random.default_rng(5).normal(2, 3, size=(50, 8)).astype('f')


def networks(count, seed):
  """Independent networks that have much in common, as those of one task."""
  keys = jax.random.split(jax.random.key(seed), count)
  shared = MODEL.init(jax.random.key(99))
  drawn = jax.device_get(jax.vmap(MODEL.init)(keys))
  return {path: x + 2 * np.asarray(shared[path]) for path, x in drawn.items()}


@pytest.fixture(scope='module')
def secret():
  return fingerprint.probes(KEY, INPUTS)


@pytest.fixture(scope='module')
def known(secret):
  given = (fingerprint.answers(MODEL, networks(n, seed), secret) for n, seed in ((8, 0), (400, 1)))
  return fingerprint.take(*given)


def test_inputs_are_secret_and_lie_where_real_ones_do(secret):
  np.testing.assert_array_equal(secret, fingerprint.probes(KEY, INPUTS))
  assert not np.allclose(secret, fingerprint.probes(OTHER, INPUTS))
  np.testing.assert_allclose(secret.mean(axis=0), INPUTS.mean(axis=0), atol=1)
  np.testing.assert_allclose(secret.std(axis=0), INPUTS.std(axis=0), rtol=0.2)


@pytest.mark.parametrize('change', ['none', 'moved', 'int8', 'one more unit'])
def test_samples_are_found_however_they_are_written(known, secret, change):
  samples, model = networks(8, 0), MODEL
  if change == 'moved':
    samples = baselines.move(samples, MODEL.spec, seed=3)
  elif change == 'int8':
    samples = attacks.quantize(samples, 8)
  elif change == 'one more unit':
    samples, model = attacks.add_unit(samples, MODEL.spec), wsjax.mlp((8, 13, 6))
  p, best, cosine = known.find(fingerprint.answers(model, samples, secret))
  assert (p == 1 / 201).all() and best.tolist() == list(range(8)) and (cosine > 0.9).all()


def test_p_of_independent_networks_is_uniform(known, secret):
  p, _, _ = known.find(fingerprint.answers(MODEL, networks(400, 2), secret))
  assert np.mean(p < 0.01) < 0.03 and abs(np.mean(p < 0.5) - 0.5) < 0.12
  # Where samples answer like all networks of the task, nothing is found.
  ordinary = fingerprint.answers(MODEL, networks(100, 3), secret)
  p, _, _ = fingerprint.take(ordinary[:50], ordinary[50:]).find(ordinary[50:75])
  assert np.median(p) > 0.05


def test_answers_that_are_not_finite_are_like_no_sample(known, secret):
  broken = {path: np.full_like(x, np.nan) for path, x in networks(2, 0).items()}
  p, _, _ = known.find(fingerprint.answers(MODEL, broken, secret))
  assert (p == 1).all()


def test_what_cannot_be_compared_is_refused(known):
  with pytest.raises(ValueError, match='0 samples'):
    fingerprint.take(np.zeros((0, 3)), np.zeros((5, 3)))
  with pytest.raises(ValueError, match='3 independent networks'):
    fingerprint.take(np.ones((2, 3)), np.ones((3, 3)))
