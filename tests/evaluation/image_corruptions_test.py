"""Corrupted images against slow loops and against what each kind means."""

import numpy as np
import pytest
import scipy.ndimage

from wsjax.evaluation import image_corruptions as corruptions
from wsjax.zoo.data import datasets


@pytest.fixture(scope='module')
def images():
  return datasets.load('digits').test_x[:40]


@pytest.fixture(scope='module')
def corrupted(images):
  """Kind -> [5, n, h, w, c]."""
  values = corruptions.corrupt(images, seed=3)
  return dict(zip(corruptions.KINDS, values, strict=True))


@pytest.mark.parametrize('kind', corruptions.KINDS)
def test_severity_is_distance_from_the_image(kind, corrupted, images):
  values = corrupted[kind]
  assert values.shape == (5, *images.shape) and values.dtype == np.float32
  assert values.min() >= 0 and values.max() <= 1
  distance = np.sqrt(np.mean((values - images[None]) ** 2, axis=(1, 2, 3, 4)))
  assert distance[0] > 0.02, 'the mildest must be seen'
  assert np.all(np.diff(distance) > 0), distance


def test_every_kind_is_in_one_family():
  kinds = [kind for family in corruptions.FAMILIES.values() for kind in family]
  assert sorted(kinds) == sorted(corruptions.KINDS)


def test_noise_has_the_level_it_says():
  grey = np.full((200, 8, 8), 0.5, np.float32)
  gaussian, shot, impulse = corruptions.corrupt(grey, kinds=corruptions.FAMILIES['noise'])
  assert gaussian[0].std() == pytest.approx(0.08, rel=0.05)
  # The variance of a mean of counts is brightness over photons.
  assert shot[0].std() == pytest.approx(np.sqrt(0.5 / 60), rel=0.05)
  assert shot[0].mean() == pytest.approx(0.5, abs=0.005)
  for values, share in zip(impulse, corruptions.LEVELS['impulse_noise'], strict=True):
    assert np.mean(values == 0) == pytest.approx(share / 2, rel=0.2)
    assert np.mean(values == 1) == pytest.approx(share / 2, rel=0.2)


def test_blur_is_a_sum_over_pixels(corrupted, images):
  sigma = corruptions.LEVELS['blur'][2] * 8
  weights = np.array(
    [[np.exp(-((i - j) ** 2) / sigma**2 / 2) for j in range(8)]
     for i in range(8)]
  )  # fmt: skip
  weights /= weights.sum(axis=1, keepdims=True)
  slow = weights @ images[0, :, :, 0] @ weights.T
  np.testing.assert_allclose(corrupted['blur'][2, 0, :, :, 0], slow, atol=1e-5)


def test_rotation_is_that_of_scipy(corrupted, images):
  for index in range(8):
    turned = [
      scipy.ndimage.rotate(
        images[index, :, :, 0], sign * 20, reshape=False, order=1, mode='grid-constant'
      )
      for sign in (-1, 1)
    ]
    ours = corrupted['rotation'][1, index, :, :, 0]
    assert min(np.abs(ours - way).max() for way in turned) < 1e-4


def test_shift_moves_the_centre_of_mass_by_its_length():
  dot = np.zeros((64, 16, 16), np.float32)
  dot[:, 7:9, 7:9] = 0.8
  (moved,) = corruptions.corrupt(dot, kinds=('shift',))
  place = np.arange(16)
  mass = moved[1].sum(axis=(1, 2))
  centre = np.stack(
    [np.einsum('nij,i->n', moved[1], place) / mass, np.einsum('nij,j->n', moved[1], place) / mass]
  )
  np.testing.assert_allclose(np.hypot(*(centre - 7.5)), 0.125 * 16, atol=1e-3)
  assert np.std(centre[0]) > 0.5, 'directions differ'


def test_light_is_affine(corrupted, images):
  mean = images.mean(axis=(1, 2, 3), keepdims=True)
  np.testing.assert_allclose(corrupted['contrast'][0], mean + 0.4 * (images - mean), atol=1e-6)
  np.testing.assert_allclose(corrupted['brightness'][4], np.minimum(images + 0.5, 1), atol=1e-6)


def test_occlusion_hides_a_square_and_leaves_the_rest():
  white = np.ones((30, 8, 8), np.float32)
  (hidden,) = corruptions.corrupt(white, kinds=('occlusion',))
  for severity, side in enumerate((1, 2, 3, 4, 5)):
    np.testing.assert_array_equal(np.sum(hidden[severity] == 0, axis=(1, 2)), side**2)
  assert np.all(hidden[1] >= hidden[2]), 'a larger square covers a smaller'
  assert len(np.unique(hidden[0].reshape(30, -1), axis=0)) > 5


def test_one_seed_is_one_set_in_any_layout(images, corrupted):
  flat = images.reshape(len(images), -1)
  kinds = ('impulse_noise', 'shift')
  again = corruptions.corrupt(flat, kinds=kinds, side=8, seed=3)
  assert again.shape == (2, 5, *flat.shape)
  for kind, values in zip(kinds, again, strict=True):
    # Another layout is another program, which may round the last bit otherwise.
    np.testing.assert_array_max_ulp(values.reshape(corrupted[kind].shape), corrupted[kind], 4)
  other = corruptions.corrupt(flat, kinds=kinds, side=8, seed=4)
  assert np.any(other != again)


@pytest.mark.parametrize(
  ('inputs', 'keywords', 'match'),
  [
    (np.zeros((2, 64)), {}, 'no images'),
    (np.zeros((2, 65)), {'side': 8}, 'no images'),
    (np.full((2, 8, 8), 1.5), {}, r'\[0, 1\]'),
    (np.full((2, 8, 8), np.nan), {}, r'\[0, 1\]'),
    (np.zeros((2, 8, 8)), {'kinds': ('fog',)}, 'fog'),
  ],
)
def test_what_is_no_image_is_refused(inputs, keywords, match):
  with pytest.raises(ValueError, match=match):
    corruptions.corrupt(inputs, **keywords)
