"""Augmented networks compute what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.models import mlp, siren
from wsjax.train import augment
from wsjax.zoo import train

SIREN = siren.SIREN((2, 8, 8, 1), omega=5.0)
PARAMS = jax.jit(SIREN.init)(jax.random.key(0))
GRID = train.coordinates(6, 6)


def picture(params):
  return np.asarray(SIREN.apply(params, GRID)).reshape(6, 6)


def test_a_flip_mirrors_the_picture_left_to_right():
  flipped = 0
  for seed in range(16):
    moved = augment.move_coordinates(jax.random.key(seed), PARAMS, flip=True)
    if np.allclose(picture(moved), picture(PARAMS), atol=1e-5):
      continue
    np.testing.assert_allclose(picture(moved), picture(PARAMS)[:, ::-1], atol=1e-5)
    flipped += 1
  assert 0 < flipped < 16


def test_a_moved_network_is_the_network_at_moved_coordinates():
  key = jax.random.key(3)
  moved = augment.move_coordinates(key, PARAMS, shift=0.3, rotate=0.5, zoom=0.2)
  # f(A x + t), with A and t read back from three points of the first layer.
  kernel, bias = (PARAMS[f'layer0/{name}'] for name in ('kernel', 'bias'))
  matrix = np.linalg.lstsq(np.asarray(kernel).T, np.asarray(moved['layer0/kernel']).T, rcond=None)[
    0
  ]
  shift = np.linalg.lstsq(
    np.asarray(kernel).T, np.asarray(moved['layer0/bias'] - bias), rcond=None
  )[0]
  assert np.abs(shift).max() <= 0.3 + 1e-5
  scale = np.sqrt(np.linalg.det(matrix))
  assert abs(np.log(scale)) <= 0.2 + 1e-5
  np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(2), atol=1e-4)
  wanted = jax.jit(SIREN.apply)(PARAMS, (GRID @ matrix.T + shift).astype(np.float32))
  np.testing.assert_allclose(SIREN.apply(moved, GRID), wanted, atol=1e-4)


def test_symmetry_changes_weights_and_not_the_function():
  change = augment.make({'symmetry': True}, SIREN)
  moved = change(jax.random.key(1), PARAMS)
  assert not np.allclose(moved['layer1/kernel'], PARAMS['layer1/kernel'])
  np.testing.assert_allclose(picture(moved), picture(PARAMS), atol=1e-4)


def test_noise_and_dropout_have_the_size_that_was_asked_for():
  large = {'a/kernel': jnp.full((100, 100), 3.0)}
  noisy = augment.add_noise(jax.random.key(0), large, std=0.1)
  assert np.std(noisy['a/kernel']) == pytest.approx(0.3, rel=0.05)
  dropped = augment.drop(jax.random.key(0), large, rate=0.2)
  assert np.mean(dropped['a/kernel'] == 0) == pytest.approx(0.2, abs=0.02)


def test_nothing_asked_for_changes_nothing():
  change = augment.make({'symmetry': False, 'noise': 0.0}, SIREN)
  assert change(jax.random.key(0), PARAMS) is PARAMS


def test_wrong_sections_are_refused():
  wrong = {'noize': 1.0, 'noise': -1.0, 'dropout': 1.0, 'symmetry': 'yes', 'shift': '1', 'flip': 1}
  for name, value in wrong.items():
    with pytest.raises(ValueError, match=rf'augment.*\b{name}\b'):
      augment.make({name: value}, SIREN)
  with pytest.raises(ValueError, match='augment.shift moves coordinates'):
    augment.make({'shift': 0.1}, mlp.MLP((4, 3, 2)))
