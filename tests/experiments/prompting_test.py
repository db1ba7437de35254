"""Prompting as a stage: from a config to a report; its numbers by hand."""

import pathlib

import numpy as np
import pytest

from wsjax import run as run_lib
from wsjax.cli import configs
from wsjax.experiments import prompting, prompting_metrics, prompting_report, reports
from wsjax.models import mlp
from wsjax.symmetry import group as group_lib
from wsjax.zoo import train
from wsjax.zoo.data import datasets

ROOT = pathlib.Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = configs.load(f'{ROOT}/prompting.py:smoke', [])[0]
  return run_lib.run(config, workdir, progress=False), workdir, config


def test_a_run_ends_in_a_report_with_every_baseline(finished):
  result, workdir, _ = finished
  names = [row['name'] for row in result['rows']]
  assert names[1:5] == [
    'one prompt, 0.050 nats',
    'two prompts, 0.050 nats',
    'three prompts, 0.050 nats',
    'one prompt from noise',
  ]
  assert names[5:9] == [
    'no update',
    'nearest training checkpoint by loss',
    'mean of the best checkpoints',
    'mean change of training runs',
  ]
  assert names[9].startswith('SGD for as long')
  assert names[10] == 'training run of its own'
  for row in result['rows']:
    assert row['n'] == 6
    for stat in row['metrics'].values():
      assert stat['low'] <= stat['value'] <= stat['high']
  own = result['rows'][-1]['metrics']
  assert own['own_ratio']['value'] == 0 and own['own_nearest']['value'] == 1
  # Thirty steps of training are better than none.
  start = result['rows'][5]['metrics']
  assert own['loss']['value'] < start['loss']['value']
  assert result['recipe'][0]['step'] == 0
  assert result['recipe'][0]['loss'] == pytest.approx(start['loss']['value'])
  assert result['recipe'][-1]['loss'] == pytest.approx(own['loss']['value'])
  text = (workdir / 'report.html').read_text()
  assert prompting_report.headline(result) in text and 'http' not in text


def test_a_finished_run_is_read_and_rendered_again_the_same(finished):
  _, workdir, config = finished
  before = (workdir / 'report.html').read_bytes()
  again = run_lib.run(config, workdir, progress=False)
  assert reports.of(again) is prompting_report
  reports.write(again, workdir)
  assert (workdir / 'report.html').read_bytes() == before
  assert prompting_report.table(again).row_count == 11


def test_a_report_that_lacks_something_is_refused(finished, tmp_path):
  result = finished[0]
  with pytest.raises(ValueError, match='missing: novelty'):
    reports.write({key: x for key, x in result.items() if key != 'novelty'}, tmp_path)
  with pytest.raises(ValueError, match='by a prompt have no common table'):
    reports.comparison_of({'a': result, 'b': result})


def test_one_network_for_all_starts_is_seen_however_its_units_stand():
  architecture = mlp.MLP((4, 5, 3))
  prepared = prompting.Prepared(architecture, None, None, (0, 1), {})
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
  assert prepared.spacing(stack(moved)) < 1e-3
  assert prepared.spacing(stack(different)) > 1
  # What has no finite weights is left out, and loses no report.
  broken = {path: np.full_like(x, np.nan) for path, x in one.items()}
  assert prepared.spacing(stack([*different, broken])) == pytest.approx(
    prepared.spacing(stack(different)), rel=1e-5
  )
  assert np.isnan(prepared.spacing(stack([one, broken])))


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

  table = prompting_metrics.places(nets([0.0, 5.0]), nets([1.0, 3.0]), nets([0.5, 9.0, 4.0]))
  np.testing.assert_allclose(table['own'], [1, 2])
  np.testing.assert_allclose(table['own_ratio'], [1 / 3, 2 / 4])
  np.testing.assert_allclose(table['own_nearest'], [1, 1])
  np.testing.assert_allclose(table['nearest'], [0.5, 1])
  np.testing.assert_allclose(prompting_metrics.apart(nets([0.5, 9.0, 4.0])), [3.5, 5, 3.5])
