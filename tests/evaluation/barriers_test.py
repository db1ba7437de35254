"""What was derived from a training network has no barrier to it."""

import numpy as np
import optax
import pytest

from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import baselines, methods
from wsjax.evaluation.metrics import barriers
from wsjax.geometry import connectivity

NETS = np.arange(8)


def _measured(reference, params, seeds=()):
  method = methods.Method('some', 'model', params, seeds=seeds)
  return given.measured('barriers', methods.Sample(method, reference), reference)


@pytest.fixture(scope='module')
def find(zoo_reference):
  def found(params, seeds=()):
    heights = _measured(zoo_reference, params, seeds)
    return {name.removeprefix('barrier_'): stat['value'] for name, stat in heights.items()}

  return found


def test_further_runs_have_a_barrier_that_matching_lowers(find, zoo_reference):
  runs = find(networks.take(zoo_reference.heldout, NETS))
  assert runs['train_raw'] > 0.2
  assert 0 < runs['train'] < 0.5 * runs['train_raw']
  assert 0 < runs['self'] < 0.5 * runs['train_raw']


def test_noisy_copies_are_in_the_basin_of_their_original(find, zoo_reference):
  rng = np.random.default_rng(0)
  noisy = {
    path: value[NETS] + 0.02 * rng.standard_normal(value[NETS].shape)
    for path, value in zoo_reference.train.items()
  }
  copies = find({k: v.astype(np.float32) for k, v in noisy.items()})
  assert copies['train_raw'] < 0.01
  assert copies['self'] > 0.01, 'the originals are several'


def test_a_disguise_raises_the_line_and_matching_finds_it(find, zoo_reference):
  copies = networks.take(zoo_reference.train, NETS)
  moved = baselines.move(copies, zoo_reference.architecture.spec, seed=1)
  hidden = find({path: np.asarray(value) for path, value in moved.items()})
  assert hidden['train_raw'] > 0.2
  assert hidden['train'] < 0.01


def test_other_samples_are_those_of_the_same_seed(find, zoo_reference):
  """Each seed makes one network: that another seed makes another is no help."""
  twice = networks.take(zoo_reference.heldout, np.repeat([0, 1], 4))
  assert find(twice, (0, 1))['self'] == pytest.approx(0, abs=1e-4)
  mixed = networks.take(zoo_reference.heldout, np.arange(8) % 2)
  assert find(mixed, (0, 1))['self'] > 0.01


def test_one_network_alone_has_no_other(zoo_reference):
  stats = _measured(zoo_reference, networks.take(zoo_reference.heldout, NETS[:1]))
  assert stats['barrier_self']['value'] is None
  assert stats['barrier_train']['value'] > 0


def test_barrier_is_measured_from_the_chord():
  chord = np.linspace(1.0, 3.0, 11)
  bump = np.where(np.arange(11) == 5, 0.7, 0)
  losses = np.stack([chord, chord + bump, chord - bump])
  np.testing.assert_allclose(connectivity.barrier(losses), [0, 0.7, 0], atol=1e-12)
  with pytest.raises(ValueError, match='point between'):
    connectivity.barrier(losses[:, :2])


def test_path_losses_are_those_of_points_on_the_line(zoo_reference):
  context = zoo_reference
  a, b = (networks.take(context.train, np.array(i)) for i in ([0, 1], [2, 3]))
  losses = barriers.path_losses(context.architecture, a, b, context.items, num_points=3)
  middle = {path: (a[path][1] + b[path][1]) / 2 for path in a}
  logits = context.architecture.apply(middle, context.test_x)
  slow = optax.softmax_cross_entropy_with_integer_labels(logits, context.test_y).mean()
  assert losses.shape == (2, 3)
  assert losses[1, 1] == pytest.approx(float(slow), rel=1e-4)


@pytest.mark.slow
def test_alignment_brings_networks_nearer_and_lowers_the_barrier(report):
  distances = report.alignment
  assert np.median(distances['after']) < 0.9 * np.median(distances['before'])
  barrier = {
    key: connectivity.barrier(np.array(report.barrier[key])).mean() for key in ('raw', 'aligned')
  }
  assert barrier['aligned'] < 0.5 * barrier['raw']
  # Matching does not change what the ends compute.
  raw, aligned = (np.array(report.barrier[key])[:, [0, -1]] for key in ('raw', 'aligned'))
  np.testing.assert_allclose(raw, aligned, rtol=1e-3)
