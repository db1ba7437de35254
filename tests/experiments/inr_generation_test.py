"""Networks that draw, generated and judged: from a config to a report."""

import json
import pathlib

import numpy as np
import pytest

from wsjax import run as run_lib
from wsjax.cli import configs
from wsjax.evaluation.report import report
from wsjax.experiments import inr_comparison, inr_report, judge, prepare, reports

CONFIG = pathlib.Path(__file__).parents[2] / 'configs/inr_generation.py'


def smoke(*overrides):
  return configs.load(f'{CONFIG}:smoke', overrides)[0]


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = smoke('--config.train.seeds=(0,1)')
  return run_lib.run(config, workdir, progress=False), workdir


def test_a_run_ends_in_a_report_with_every_baseline(finished):
  result, workdir = finished
  arms = {arm['name']: arm for arm in result['arms']}
  assert {'flow_matching', 'fresh runs', 'noise(0.001)', 'interpolation raw',
          'soup-2 aligned', 'gaussian', 'retrieval', 'permuted copy',
          'random init'} <= set(arms)  # fmt: skip
  assert arms['flow_matching']['n'] == 24 and arms['fresh runs']['n'] == 12
  for arm in arms.values():
    for stat in arm['metrics'].values():
      slack = 1e-6  # Resampled medians are of float32 weights.
      assert stat['low'] - slack <= stat['value'] <= stat['high'] + slack
  assert len(arms['flow_matching']['metrics']['nna']['per_seed']) == 2
  assert arms['permuted copy']['metrics']['copy_rate']['value'] == 1
  assert arms['fresh runs']['metrics']['copy_rate']['value'] == 0
  titles = [row['title'] for row in result['pictures']]
  assert titles[0] == 'generated' and 'held out' in titles
  assert np.shape(result['pictures'][1]['pictures']) == (10, 8, 8, 1)
  text = (workdir / 'report.html').read_text()
  assert inr_report.headline(result) in text
  assert text.count('<image ') == 10 * len(titles) and 'http' not in text


def test_a_report_is_read_and_rendered_again_the_same(finished):
  _, workdir = finished
  before = (workdir / 'report.html').read_bytes()
  result = reports.load(workdir)
  assert reports.of(result) is inr_report
  reports.write(result, workdir)
  assert (workdir / 'report.html').read_bytes() == before
  assert inr_report.table(result).row_count == len(result['arms'])


def test_a_report_without_a_part_is_refused(finished):
  result, _ = finished
  with pytest.raises(ValueError, match='missing: pictures'):
    inr_report.check({k: v for k, v in result.items() if k != 'pictures'})
  broken = json.loads(json.dumps(report.plain(result, 'report')))
  del broken['arms'][3]['metrics']['nna']
  with pytest.raises(ValueError, match="lacks 'nna'"):
    inr_report.check(broken)


def test_runs_of_a_sweep_stand_side_by_side(finished):
  result, workdir = finished
  result = reports.load(workdir)
  made = {'one': result, 'two': result}
  assert reports.comparison_of(made) is inr_comparison
  gathered = inr_comparison.gather('sweep', made)
  assert [run['run'] for run in gathered['runs']] == ['one', 'two']
  assert inr_comparison.table(gathered).row_count == 2
  page = inr_comparison.page(gathered)
  assert 'href="one/report.html"' in page and '1-NNA %' in page
  with pytest.raises(ValueError, match='no common table'):
    reports.comparison_of({'one': result, 'two': {'arms': []}})


def test_too_few_test_networks_are_refused(finished):
  _, workdir = finished
  config = smoke('--config.evaluate.num_samples=13')
  zoo = prepare.open_zoo(config, workdir, progress=False)
  prepared = prepare.prepare(config, zoo)
  with pytest.raises(ValueError, match='must be 26 or more; it is 24'):
    judge.judge(config, prepared, [], None)


def test_samples_of_a_run_are_drawn_and_judged_like_any_zoo(finished, tmp_path):
  _, workdir = finished
  out = run_lib.sample(workdir, num=12, seed=1, out=tmp_path / 'samples')
  config = smoke(f'--config.zoo.path={workdir / "zoo"}')
  result = run_lib.evaluate_zoo(config, tmp_path / 'judged', out)
  assert result['arms'][0]['name'] == 'samples'
  assert result['arms'][0]['n'] == 12
