"""Parts of stacked parameters have units of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.symmetry import slot
from wsjax.symmetry.inference import infer

X = jax.ShapeDtypeStruct((4, 6), np.float32)
LAYERS = {
  'w': jax.ShapeDtypeStruct((3, 6, 5), np.float32),
  'v': jax.ShapeDtypeStruct((3, 5, 6), np.float32),
}


def test_a_part_is_taken_and_put_back():
  value = jnp.arange(48.0).reshape(2, 12, 2)
  keys = slot.Slot(1, (2, 3, 2), 1)
  part = keys.take(value)
  np.testing.assert_array_equal(part, value[:, np.array([2, 3, 8, 9])])
  assert keys.shape(value.shape) == part.shape
  moved = keys.put(value, -part)
  np.testing.assert_array_equal(keys.take(moved), -part)
  np.testing.assert_array_equal(moved.sum(), value.sum() - 2 * part.sum())
  within = keys, slot.Slot(2, (1, 2, 1), 0)
  np.testing.assert_array_equal(slot.put(within, value, slot.take(within, value)), value)


def _layers(places, whole=False):
  def fn(params, x):
    for i in places:
      x = x + jax.nn.silu(x @ params['w'][i]) @ params['v'][i]
    return x + params['w'].sum() if whole else x

  return infer.infer(fn, LAYERS, X), fn


def test_layers_that_are_taken_by_their_number_have_units_of_their_own():
  inferred, fn = _layers(range(3))
  assert [b.size for b in inferred.report.blocks] == [5, 5, 5]
  assert inferred.report.blocks[1].names == ('w[1 of 3 along 0]:2', 'v[1 of 3 along 0]:1')
  assert infer.verify(inferred, fn, LAYERS, (X,), jax.random.key(0)) < 1e-5


@pytest.mark.parametrize(('places', 'whole', 'count'), [((0, 1, 0), False, 2), (range(3), True, 0)])
def test_layers_that_are_used_otherwise_too_stay_together(places, whole, count):
  inferred, fn = _layers(places, whole)
  assert len(inferred.report.blocks) == count
  assert infer.verify(inferred, fn, LAYERS, (X,), jax.random.key(0)) < 1e-5
