"""Editing as a stage: from a config to a report; an edit ignores the order."""

import json
import pathlib

import jax
import numpy as np
import pytest

from wsjax import config as config_lib
from wsjax import run as run_lib
from wsjax.cli import configs
from wsjax.evaluation import equivariance
from wsjax.experiments import editing, editing_metrics, editing_report, prepare, reports
from wsjax.layers import residual
from wsjax.models import mlp, siren

ROOT = pathlib.Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = configs.load(f'{ROOT}/inr_editing.py:smoke', [])[0]
  return run_lib.run(config, workdir, progress=False), workdir, config


def test_a_run_ends_in_a_report_with_pictures_and_baselines(finished):
  result, workdir, _ = finished
  assert {row['name']: row['n'] for row in result['rows']} == {
    'edited by neural_functional': 8,
    'no edit': 8,
    'one factor and shift for all': 8,
    'fitted anew': 4,
  }
  for row in result['rows']:
    for stat in row['metrics'].values():
      assert stat['low'] <= stat['value'] <= stat['high']
  edited, unedited, alike, direct = (row['metrics']['mse']['value'] for row in result['rows'])
  # Four steps change little; a fit of five per network more than nothing.
  assert edited == pytest.approx(unedited, rel=0.05) and edited != unedited
  assert direct < unedited and alike < unedited
  titles = [row['title'] for row in result['pictures']]
  assert titles == ['drawn', 'target', 'edited', 'fitted anew']
  assert np.shape(result['pictures'][0]['pictures']) == (4, 8, 8, 1)
  text = (workdir / 'report.html').read_text()
  assert editing_report.headline(result) in text
  assert text.count('<image ') == 16 and 'http' not in text


def test_a_finished_run_is_read_and_rendered_again_the_same(finished):
  _, workdir, config = finished
  before = (workdir / 'report.html').read_bytes()
  again = run_lib.run(config, workdir, progress=False)
  assert again == json.loads((workdir / 'report.json').read_text())
  assert reports.of(again) is editing_report
  reports.write(again, workdir)
  assert (workdir / 'report.html').read_bytes() == before
  assert editing_report.table(again).row_count == 4


def test_a_report_that_lacks_something_is_refused(finished, tmp_path):
  result = finished[0]
  with pytest.raises(ValueError, match='missing: pictures'):
    reports.write({key: x for key, x in result.items() if key != 'pictures'}, tmp_path)
  with pytest.raises(ValueError, match='edit networks have no common table'):
    reports.comparison_of({'a': result, 'b': result})


@pytest.mark.parametrize('name', ['neural_functional', 'flat_mlp'])
def test_what_the_report_says_of_equivariance_is_true(name):
  """An equivariant editor has rounding errors; the flat MLP has none of it."""
  architecture = siren.SIREN((2, 8, 8, 1), 10.0)
  params = jax.vmap(architecture.init)(jax.random.split(jax.random.key(0), 4))
  params = {path: np.asarray(value) for path, value in params.items()}
  section = {'name': name, 'architecture': architecture}
  module = residual.Residual(
    config_lib.build('editors', section), tuple((path, 0.3) for path in params)
  )
  one = {path: value[0] for path, value in params.items()}
  variables = jax.jit(module.init)(jax.random.key(1), one)
  found = equivariance.of_edit(
    lambda params: module.apply(variables, params), architecture, params, pixels=6, seed=0
  )
  assert found['n'] == 4
  if name == 'neural_functional':
    assert found['weights'] < 1e-3 and found['picture'] < 1e-4
  else:
    assert found['weights'] > 0.1 and found['picture'] > 1e-4


def test_scores_are_means_over_networks_and_seeds():
  errors = np.array([[0.1, 0.01], [0.1, 0.001]])
  scores = editing_metrics.scores(errors, num_bootstrap=50, seed=0)
  assert scores['mse']['value'] == pytest.approx(errors.mean())
  assert scores['psnr']['per_seed'] == pytest.approx([15, 20])
  assert scores['mse']['method'] == 'bootstrap-nets-seeds'
  with pytest.raises(ValueError, match='must be above 0'):
    editing_metrics.scores(0 * errors, num_bootstrap=50, seed=0)


def test_networks_that_do_not_draw_are_refused(finished):
  _, workdir, config = finished
  zoo = prepare.open_zoo(config, workdir, progress=False)

  class Classifiers:
    path = 'there'
    records = [{'arch_id': 'mlp', 'arch_config': dict(mlp.MLP((2, 3, 2)).config)}]

  with pytest.raises(ValueError, match='there are for classification'):
    editing.prepare(None, Classifiers())
  assert set(editing.prepare(None, zoo).splits) == {'train', 'val', 'test'}
