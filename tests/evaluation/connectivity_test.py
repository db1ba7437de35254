"""The line between two networks, and the bump on it."""

import numpy as np
import optax
import pytest

from wsjax.evaluation import methods
from wsjax.evaluation.metrics import connectivity


def test_barrier_is_measured_from_the_chord():
  chord = np.linspace(1.0, 3.0, 11)
  bump = np.where(np.arange(11) == 5, 0.7, 0)
  losses = np.stack([chord, chord + bump, chord - bump])
  np.testing.assert_allclose(connectivity.loss_barrier(losses), [0, 0.7, 0], atol=1e-12)
  with pytest.raises(ValueError, match='point between'):
    connectivity.loss_barrier(losses[:, :2])


def test_path_losses_are_those_of_points_on_the_line(zoo_context):
  context = zoo_context
  a, b = (methods.take(context.train, np.array(i)) for i in ([0, 1], [2, 3]))
  losses = connectivity.path_losses(context.architecture, a, b, context.items, num_points=3)
  middle = {path: (a[path][1] + b[path][1]) / 2 for path in a}
  logits = context.architecture.apply(middle, context.test_x)
  slow = optax.softmax_cross_entropy_with_integer_labels(logits, context.test_y).mean()
  assert losses.shape == (2, 3)
  assert losses[1, 1] == pytest.approx(float(slow), rel=1e-4)


def test_alignment_brings_networks_nearer_and_lowers_the_barrier(report):
  distances = report['alignment']
  assert np.median(distances['after']) < 0.9 * np.median(distances['before'])
  barrier = {
    key: connectivity.loss_barrier(np.array(report['barrier'][key])).mean()
    for key in ('raw', 'aligned')
  }
  assert barrier['aligned'] < 0.5 * barrier['raw']
  # Matching does not change what the ends compute.
  raw, aligned = (np.array(report['barrier'][key])[:, [0, -1]] for key in ('raw', 'aligned'))
  np.testing.assert_allclose(raw, aligned, rtol=1e-3)
