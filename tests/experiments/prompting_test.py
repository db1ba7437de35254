"""Prompting: from a config to a report; its numbers by hand."""

import pathlib

import numpy as np
import pytest

from wsjax.experiments import prompting
from wsjax.models import mlp
from wsjax.symmetry import group as group_lib
from wsjax.zoo import train
from wsjax.zoo.data import datasets

ROOT = pathlib.Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def finished(smoke_run):
  return smoke_run('prompting')


@pytest.mark.slow
def test_a_run_ends_in_a_report_with_every_baseline(finished):
  report, workdir, _ = finished
  rows = report.tables['methods'].rows
  assert [name for name in rows if 'SGD' not in name][1:] == [
    'one prompt, 0.050 nats',
    'two prompts, 0.050 nats',
    'three prompts, 0.050 nats',
    'one prompt from noise',
    'no update',
    'nearest training checkpoint by loss',
    'mean of the best checkpoints',
    'mean change of training runs',
    'training run of its own',
  ]
  for row in rows.values():
    assert row.n == 6
    for stat in row.stats.values():
      assert stat['low'] <= stat['value'] <= stat['high']
  own, start = rows['training run of its own'], rows['no update']
  assert own.value('own_ratio') == 0 and own.value('own_nearest') == 1
  # Thirty steps of training are better than none.
  assert own.value('loss') < start.value('loss')
  assert report.figures['recipe'].data['panels'][0]['lines'][0]['x'][0] == 0
  losses = report.facts['Training runs']['loss']
  assert losses[0] == pytest.approx(start.value('loss'))
  assert losses[-1] == pytest.approx(own.value('loss'))
  assert report.tables['control'].rows['test nats: all'].n == 32
  text = (workdir / 'report.html').read_text()
  assert report.headline in text and 'http' not in text


@pytest.mark.slow
def test_one_network_for_all_starts_is_seen_however_its_units_stand():
  architecture = mlp.MLP((4, 5, 3))
  rng = np.random.default_rng(0)

  def draw():
    return {
      leaf.path: rng.normal(size=leaf.shape).astype(np.float32) for leaf in architecture.spec.leaves
    }

  def stack(nets):
    return {path: np.stack([net[path] for net in nets]) for path in nets[0]}

  one = draw()
  moved = [
    group_lib.permute({'hidden0': rng.permutation(5)}, one, architecture.spec) for _ in range(6)
  ]
  different = [draw() for _ in range(6)]
  assert prompting.spacing(architecture, stack(moved)) < 1e-3
  assert prompting.spacing(architecture, stack(different)) > 1
  # What has no finite weights is left out, and loses no report.
  broken = {path: np.full_like(x, np.nan) for path, x in one.items()}
  assert prompting.spacing(architecture, stack([*different, broken])) == pytest.approx(
    prompting.spacing(architecture, stack(different)), rel=1e-5
  )
  assert np.isnan(prompting.spacing(architecture, stack([one, broken])))


def test_starts_are_those_that_training_left():
  """A step of next to nothing leaves what the run began with."""
  architecture = mlp.MLP((64, 6, 10))
  recipe = train.Recipe(
    optimizer='sgd', learning_rate=1e-30, batch_size=32, steps=1,
    init_scale=(0.5, 2.0),
  )  # fmt: skip
  indices = np.array([3, 0], np.int32)
  trained = train.train_networks(architecture, datasets.load('digits'), recipe, indices, seed=5)
  found = train.initial_params(architecture, recipe, indices, 5)
  for path, value in trained.params.items():
    # Biases start at 0, where even such a step is seen.
    np.testing.assert_allclose(value, found[path], rtol=1e-6, atol=1e-25)
  other = train.initial_params(architecture, recipe, indices, 6)
  assert not np.array_equal(other['layer0/kernel'], found['layer0/kernel'])


def test_places_are_distances_to_the_own_run_and_to_others():
  def nets(values):
    return {'a': np.float32(values)[:, None], 'b': np.zeros((len(values), 1))}

  table = prompting.places(nets([0.0, 5.0]), nets([1.0, 3.0]), nets([0.5, 9.0, 4.0]))
  np.testing.assert_allclose(table['own'], [1, 2])
  np.testing.assert_allclose(table['own_ratio'], [1 / 3, 2 / 4])
  np.testing.assert_allclose(table['own_nearest'], [1, 1])
  np.testing.assert_allclose(table['nearest'], [0.5, 1])
