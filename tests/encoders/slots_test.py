"""Slots read every weight once and give it back."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests import strategies
from wsjax.layers import slots


@hypothesis.given(
  case=strategies.cases(), seed=strategies.SEEDS, max_folded=st.sampled_from((1, 8, 1000))
)
def test_joining_undoes_splitting(case, seed, max_folded):
  rng = np.random.default_rng(seed)
  for view, leaf in zip(slots.views(case.spec, max_folded), case.spec.leaves, strict=True):
    x = rng.standard_normal((*leaf.shape, 2))
    slot = slots.split(x, view)
    assert slot.shape == (*view.sizes, view.folded * 2)
    assert view.folded <= max(max_folded, 1)
    np.testing.assert_array_equal(slots.join(slot, view, leaf.shape), x)


def test_every_unit_of_a_group_has_its_own_place():
  case = strategies.make_cnn()
  for view, leaf in zip(slots.views(case.spec, 1000), case.spec.leaves, strict=True):
    groups = [axis.group for axis in leaf.axes if axis.group]
    assert list(view.labels) == groups


def test_long_pinned_axes_are_kept_and_shared_by_kernel_and_bias():
  spec = strategies.make_mlp((20, 4, 12)).spec
  labels = {view.path: view.labels for view in slots.views(spec, 8)}
  assert labels['layer0/kernel'] == ('=layer0/kernel axis 0', 'hidden0')
  assert labels['layer0/bias'] == ('hidden0',)
  assert labels['layer1/kernel'] == ('hidden0', '=layer1 out')
  assert labels['layer1/bias'] == ('=layer1 out',)


@pytest.mark.parametrize('num', (1, 3))
def test_positions_tell_the_places_of_a_pinned_axis_apart(num):
  spec = strategies.make_mlp((20, 4, 12)).spec
  view = slots.views(spec, 8)[0]
  waves = np.asarray(slots.positions(view, num))
  assert waves.shape == (20, 4, 2 * num)
  assert (waves == waves[:, :1]).all()
  assert len(np.unique(waves[:, 0].round(6), axis=0)) == 20
  bias = slots.views(spec, 8)[1]
  assert slots.positions(bias, num).shape == (4, 0)
