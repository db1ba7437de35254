"""Pictures: drawn on the grid they were fitted on, edited as the books say."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from wsjax.models import mlp, siren
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import train
from wsjax.zoo.data import datasets
from wsjax.zoo.data import images as images_lib


def slow_dilation(picture):
  """Loops over every pixel and its neighbours within the border."""
  height, width, channels = picture.shape
  result = np.full_like(picture, -np.inf)
  for i in range(height):
    for j in range(width):
      for c in range(channels):
        for k in range(max(i - 1, 0), min(i + 2, height)):
          for m in range(max(j - 1, 0), min(j + 2, width)):
            result[i, j, c] = max(result[i, j, c], picture[k, m, c])
  return result


def random_picture(channels=2):
  return np.random.default_rng(0).normal(size=(6, 7, channels))


def test_dilation_is_the_largest_of_nine_pixels():
  picture = random_picture().astype(np.float32)
  got = np.asarray(images_lib.dilate(picture))
  np.testing.assert_array_equal(got, slow_dilation(picture))
  for c in range(picture.shape[-1]):
    np.testing.assert_array_equal(got[..., c], scipy.ndimage.grey_dilation(picture[..., c], size=3))


def test_erosion_is_the_smallest_of_nine_pixels():
  picture = random_picture(1).astype(np.float32)
  np.testing.assert_array_equal(
    images_lib.erode(picture)[..., 0], scipy.ndimage.grey_erosion(picture[..., 0], size=3)
  )


def test_targets_are_edits_of_what_can_be_shown():
  picture = 2 * random_picture().astype(np.float32)
  for edit, order in (('dilate', np.greater_equal), ('erode', np.less_equal)):
    target = np.asarray(images_lib.target(picture, edit))
    assert 0 <= target.min() <= target.max() <= 1
    assert order(target, np.clip(picture, 0, 1)).all()
  with pytest.raises(ValueError, match='Unknown edit .blur.; allowed: dilate'):
    images_lib.target(picture, 'blur')


@pytest.mark.slow
def test_a_fitted_network_draws_its_image_and_then_another():
  """Also when it goes on from given weights, which it was not trained from."""
  images = datasets.load('digits').train_x[:3]
  net = siren.SIREN((2, 16, 16, 1), 20.0)
  recipe = recipe_lib.Recipe(learning_rate=1e-2, steps=300)

  def drawn(params):
    draw = jax.vmap(lambda p: images_lib.draw(net, p, 8))
    return np.asarray(jax.jit(draw)(params))

  first = train.fit_images(net, images, recipe, range(3), seed=0).params
  np.testing.assert_allclose(drawn(first), images, atol=0.1)
  targets = np.asarray(jax.vmap(images_lib.dilate)(images))
  brief = recipe_lib.Recipe(learning_rate=1e-2, steps=30)
  near, far = (
    train.fit_images(net, targets, brief, range(3), seed=1, initial=initial).params
    for initial in (first, None)
  )
  errors = [np.mean((drawn(p) - targets) ** 2) for p in (near, far)]
  assert errors[0] < errors[1]


def test_a_classifier_does_not_draw():
  net = mlp.MLP((2, 3, 2))
  with pytest.raises(ValueError, match='mlp is for classification'):
    images_lib.draw(net, net.init(jax.random.key(0)), 4)
